"""A program as a library for another machine, which needs neither Python nor this package."""
