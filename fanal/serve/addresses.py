"""How addresses are written."""

from __future__ import annotations


def address(host: str, port: int) -> str:
    """host:port; an IPv6 host stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
