"""Helpers around modules and parameters."""

from fanal.nn.utils import rnn

__all__ = ["rnn"]
