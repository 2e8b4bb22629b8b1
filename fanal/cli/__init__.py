"""The command `fanal`: look at programs, operations, and build libraries, from a shell."""

from fanal.cli.command import main

__all__ = ["main"]
