"""A program as one HTML page with its graph drawn, which needs nothing else: no network, no other file."""

from fanal.export.page.page import page

__all__ = ["page"]
