"""A program as a library for another machine, which needs neither Python nor this package."""

from fanal.edge.build import Built, build
from fanal.edge.levels import MACHINES

__all__ = ["MACHINES", "Built", "build"]
