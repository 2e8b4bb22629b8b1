"""What a person sees in a browser: an index, the OpenAPI document, and a page made from it. The page loads nothing:
no script, no font, no picture, from nowhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from fanal.serve.access import Right
from fanal.serve.engine import Engine
from fanal.serve.http.messages import HTML, Request, Response, as_json
from fanal.serve.http.openapi import document
from fanal.serve.http.routing import Operation, Route
from fanal.serve.reports import NAME
from fanal.version import __version__

_SAFE = b"content-security-policy: default-src 'none'; style-src 'unsafe-inline'\r\nx-content-type-options: nosniff\r\n"
_TAG = "Documentation"


def page_routes(routes: Sequence[Route], engine: Engine, keys: bool) -> list[Route]:
    """Routes that describe others, and themselves."""

    def index(request: Request) -> Response:
        links = {"documentation": "/docs", "openapi": "/openapi.json", "health": "/v2/health/ready", "server": "/v2"}
        return as_json({"name": NAME, "version": __version__, "links": links})

    def openapi(request: Request) -> Response:
        return as_json(described())

    def docs(request: Request) -> Response:
        return Response(200, page(described()).encode(), HTML + _SAFE)

    found = [
        Route("GET", "/", Right.USE, index, operation=Operation(_TAG, "Where to begin", "Index")),
        Route("GET", "/openapi.json", Right.USE, openapi, operation=Operation(_TAG, "This document", "Document"), packed=True),
        Route("GET", "/docs", Right.USE, docs, operation=Operation(_TAG, "This document as a page", "text/html"), packed=True),
    ]
    def described() -> dict[str, Any]:
        return document([*found, *routes], engine, keys)

    return found


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
details { border: 1px solid #ccc; border-radius: 4px; margin: .4rem 0; padding: .3rem .7rem }
summary { cursor: pointer } code, pre { font: 14px/1.4 ui-monospace, monospace } pre { overflow: auto; background: #f5f5f5; padding: .6rem }
b { display: inline-block; width: 3.5rem }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #222 } details { border-color: #444 } }
"""


def page(of: dict[str, Any]) -> str:
    """The document for people."""
    groups: dict[str, list[str]] = {}
    for path, item in of["paths"].items():
        for method in ("get", "post"):
            if method in item:
                operation = item[method]
                groups.setdefault(operation["tags"][0], []).append(_entry(method, path, operation))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(entries)}" for tag, entries in groups.items())
    schemas = "".join(_folded(escape(name), schema) for name, schema in of["components"]["schemas"].items())
    info = of["info"]
    title = escape(f"{info['title']} {info['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f"<p>{escape(info['description'])}</p>{sections}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _entry(method: str, path: str, operation: dict[str, Any]) -> str:
    title = f"<b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
    shown = {k: operation[k] for k in ("description", "requestBody", "responses") if k in operation}
    return _folded(title, shown)


def _folded(title: str, value: Any) -> str:
    text = escape(json.dumps(value, indent=2, ensure_ascii=False))
    return f"<details><summary>{title}</summary><pre>{text}</pre></details>"
