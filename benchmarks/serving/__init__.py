"""`fanal serve` beside other servers, the same network in each, in turns on this machine: `make bench-serving`.

A case (`networks.py`) is a network that PyTorch and Fanal build from the same weights; a peer (`peers.py`, one
module each in `servers/`) says how a server is set up at its best and what its requests look like. All servers of a
case are started, checked for right answers and kept stopped while it is another's turn (`process.py`, `study.py`); one
load generator asks them all (`load.py`); `results.py` makes medians and ratios of that, `page.py` text and a page.
"""
