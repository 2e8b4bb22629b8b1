"""Watching a captured call's Python: what it reads from outside, and whether it only reads."""
