"""Anomaly mode: errors and NaN in backward are reported with the forward line that they belong to."""

from __future__ import annotations

from typing import Any

from fanal.autograd.tape import anomaly


class set_detect_anomaly:
    """Switch anomaly mode; as a context manager, puts it back at the end."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.before = dict(anomaly)
        anomaly.update(enabled=mode, check_nan=check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: Any) -> None:
        anomaly.update(self.before)


class detect_anomaly(set_detect_anomaly):
    """Anomaly mode for a block: slower, but a failing backward names its forward call."""

    def __init__(self, check_nan: bool = True):
        super().__init__(True, check_nan)
