"""Error bounds in units in the last place, per function and element type."""

ULP: dict[str, dict[str, float]] = {}
