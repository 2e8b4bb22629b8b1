"""Signal processing, as `torch.signal`: window functions."""

from fanal.signal import windows

__all__ = ["windows"]
