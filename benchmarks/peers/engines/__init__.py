"""One file for each framework: how it runs a case at its best.

An engine's module has `load(threads)`, which imports the framework, sets its threads and returns
its version, and `make(task)`, which returns a `Runner`. Nothing else is asked of it.
"""
