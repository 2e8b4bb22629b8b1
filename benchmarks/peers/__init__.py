"""Fanal beside its peers: the same ten models, in turns, on this machine: `make bench-peers`.

A case (`cases/`) says its model once for libraries with PyTorch's names and once for libraries of
functions; a peer (`peers.py`) says how a framework is set up at its best; an engine (`engines/`)
runs a case on a framework, in a process of its own (`worker.py`). `study.py` lets the processes
take turns, `results.py` makes medians and ratios of that, `page/` the page.
"""
