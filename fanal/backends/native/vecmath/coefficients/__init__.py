"""Generated coefficient tables (see tools/fit)."""
