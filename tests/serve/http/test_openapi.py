"""The OpenAPI document: whole, true (schemathesis tries it), and readable as a page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests

import fanal
from fanal.export import Dim
from fanal.serve.engine import Engine
from fanal.serve.http.openapi import document
from fanal.serve.http.repository import repository_routes
from fanal.serve.http.routes import rest_routes
from fanal.serve.settings import Settings
from tests.serve.http.serving import Served
from tests.serve.http.test_access import Shelf
from tests.serve.models import write

KINDS = ("shapes", "pair", "level", "single", "table", "bool", "int32", "fp16", "fp64")


@pytest.fixture(scope="module")
def some(models: dict[str, Path]) -> Iterator[Served]:
    with Served({name: models[name] for name in KINDS}) as s:
        yield s


def test_every_route_is_in_it(some: Served) -> None:
    found = requests.get(f"{some.url}/openapi.json").json()
    assert found["openapi"] == "3.1.0" and "securitySchemes" not in found["components"]
    for route in rest_routes(some.engine, some.settings):
        operation = found["paths"][route.path][route.method.lower()]
        assert operation["summary"] and {"200", "4XX", "5XX"} <= set(operation["responses"])
    ids = [o["operationId"] for item in found["paths"].values() for m, o in item.items() if m != "parameters"]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'"#/components/schemas/(\w+)"', requests.get(f"{some.url}/openapi.json").text)) <= set(found["components"]["schemas"])


def test_models_have_paths_of_their_own(some: Served) -> None:
    paths = requests.get(f"{some.url}/openapi.json").json()["paths"]
    assert "/v1/models/shapes:classify" in paths and "/v1/models/level:classify" not in paths
    assert "/v1/models/level:regress" in paths and "/v1/models/shapes:regress" not in paths
    body = paths["/v2/models/shapes/infer"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    x = body["properties"]["inputs"]["items"]["properties"]
    assert x["name"] == {"const": "x"} and x["shape"] == {"const": [1, 2]} and x["data"]["maxItems"] == 2
    assert not [p for p in paths if "/int32" in p]  # 1.0 would be an integer to a schema


def test_models_of_large_rows_have_none(tmp_path: Path) -> None:
    """Whoever makes requests from the document would have to make thousands of numbers."""
    path = write(tmp_path / "picture.fanal", lambda x: x + 1, fanal.zeros(2, 3, 32, 32), dims={"x": {0: Dim("batch", max=8)}})
    with Served({"picture": path}) as s:
        paths = requests.get(f"{s.url}/openapi.json").json()["paths"]
        assert not [p for p in paths if "picture" in p] and "/v2/models/{model}/infer" in paths


def test_a_feature_of_one_number_may_be_the_number(some: Served) -> None:
    path = "/v1/models/single:regress"
    body = requests.get(f"{some.url}/openapi.json").json()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [s["type"] for s in body["properties"]["examples"]["items"]["properties"]["x"]["anyOf"]] == ["number", "array"]
    r = requests.post(some.url + path, json={"examples": [{"x": 1}, {"x": [2.5]}]})
    assert r.json() == {"result": [2.0, 5.0]}


def test_keys_and_the_admin_listener_are_described() -> None:
    settings = Settings()
    found = document(repository_routes(Shelf(), settings) + rest_routes(Engine(), settings), Engine(), keys=True)
    assert set(found["components"]["securitySchemes"]) == {"bearer", "key"}
    assert "security" not in found["paths"]["/v2/health/live"]["get"]
    assert found["paths"]["/v2"]["get"]["security"] == [{"bearer": []}, {"key": []}]
    assert found["paths"]["/v2/repository/models/{model}/load"]["post"]["tags"] == ["Repository"]


def test_answers_are_as_it_says(some: Served) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema_rs")
    found = requests.get(f"{some.url}/openapi.json").json()
    for path, item in found["paths"].items():
        if "get" not in item or "{label}" in path or path == "/docs":
            continue
        r = requests.get(some.url + path.replace("{model}", "shapes").replace("{version}", "1"))
        schema = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate({**schema, "components": found["components"]}, r.json())
        assert r.status_code == 200


class Links(HTMLParser):
    """Everything that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [(k, v) for k, v in attrs if k in ("src", "href", "action", "data")]


def test_the_page_loads_nothing(some: Served) -> None:
    r = requests.get(f"{some.url}/docs")
    links = Links()
    links.feed(r.text)
    assert not links.links and not links.tags & {"script", "img", "link", "iframe", "form"} and "url(" not in r.text
    assert r.headers["content-type"] == "text/html; charset=utf-8" and "default-src 'none'" in r.headers["content-security-policy"]
    for path in ("/v2/models/{model}/infer", "/v1/models/shapes:predict"):
        assert f"<code>{path}</code>" in r.text
    index = requests.get(some.url).json()
    assert all(requests.get(some.url + path).status_code == 200 for path in index["links"].values())


def schemathesis(served: Served, folder: Path, *words: str) -> None:
    pytest.importorskip("schemathesis")
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{served.url}/openapi.json", "--checks", "all",
         "--continue-on-failure", "--warnings", "off", "--seed", "1", *words],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout


def test_schemathesis(some: Served, tmp_path: Path) -> None:
    schemathesis(some, tmp_path, "--max-examples", "4")


def test_schemathesis_where_keys_are_wanted(models: dict[str, Path], tmp_path: Path) -> None:
    with Served({"shapes": models["shapes"]}, Settings(api_keys="user-key")) as s:
        schemathesis(s, tmp_path, "--max-examples", "2", "--header", "X-API-Key: user-key")


@pytest.mark.slow
def test_schemathesis_at_length(some: Served, tmp_path: Path) -> None:
    schemathesis(some, tmp_path, "--max-examples", "300")
