"""One gate before all routes: which right each needs, and what is refused to whom."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from fanal.serve.access import Gate, Right
from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, Status
from fanal.serve.http import routing
from fanal.serve.http.messages import Request
from fanal.serve.http.repository import repository_routes
from fanal.serve.http.routes import rest_routes
from fanal.serve.http.routing import Route, Router
from fanal.serve.settings import Settings
from tests.serve.http.serving import Served


class Shelf:
    """A repository that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def index(self) -> list[dict[str, Any]]:
        return [{"name": "shapes", "version": "1", "state": "READY", "reason": ""}, {"name": "old", "state": "UNAVAILABLE"}]

    async def load(self, name: str) -> None:
        if name == "nothing":
            raise ServeError(Status.NOT_FOUND, "[load] no model 'nothing'.")
        self.told.append(("load", name))

    async def unload(self, name: str) -> None:
        self.told.append(("unload", name))


def filled(route: Route) -> bytes:
    return route.path.replace("{model}", "m").replace("{version}", "1").replace("{label}", "l").encode()


def all_routes() -> list[Route]:
    settings = Settings()
    return rest_routes(Engine(), settings) + repository_routes(Shelf(), settings)


KEYS = {"api_keys": "user-key", "admin_keys": "admin-key"}


@pytest.mark.parametrize("route", all_routes(), ids=lambda r: f"{r.method} {r.path}")
def test_every_route_is_shut_but_for_its_right(route: Route) -> None:
    router = Router(all_routes(), Gate(Settings(**KEYS)))

    def status(key: str | None, method: str = route.method) -> Status | None:
        headers = {} if key is None else {b"authorization": b"Bearer " + key.encode()}
        try:
            found = router.admit(Request(method, filled(route), headers))
            assert (found.method, found.path) == (route.method, route.path)
        except ServeError as error:
            return error.status
        return None

    opens = {None: set(Right), Right.USE: {"user-key", "admin-key"}, Right.ADMIN: {"admin-key"}}
    if route.right is Right.HEALTH:
        assert route.path.startswith("/v2/health/") and status(None) is None
        return
    assert status(None) is status("stranger") is Status.UNAUTHENTICATED
    for key in ("user-key", "admin-key"):
        assert status(key) is (None if key in opens[route.right] else Status.DENIED)
    assert status(None, "PATCH") is Status.UNAUTHENTICATED
    assert status("admin-key", "PATCH") is Status.NOT_ALLOWED


def test_only_the_admin_listener_can_load() -> None:
    settings = Settings()
    assert not [r for r in rest_routes(Engine(), settings) if r.right is Right.ADMIN]
    assert {r.right for r in repository_routes(Shelf(), settings)} == {Right.ADMIN}


def test_who_has_no_key_does_not_learn_what_there_is(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"]}, Settings(**KEYS)) as s:
        assert requests.get(f"{s.url}/v2/health/ready").status_code == 200
        for path in ("/v2", "/v2/models/shapes", "/v2/models/nothing", "/nothing", "/v2/models/a%2Fb"):
            r = requests.get(s.url + path)
            assert r.status_code == 401 and r.headers["www-authenticate"] == "Bearer"
        for headers in ({"Authorization": "Bearer user-key"}, {"X-API-Key": "user-key"}, {"authorization": "bearer  admin-key"}):
            assert requests.get(f"{s.url}/v2/models/shapes", headers=headers).status_code == 200
        for headers in ({"Authorization": "Basic user-key"}, {"Authorization": "user-key"}, {"X-API-Key": ""}, {"X-API-Key": "ü"}):
            headers = {k: v.encode("latin-1") for k, v in headers.items()}
            assert requests.get(f"{s.url}/v2/models/shapes", headers=headers).status_code == 401
        r = requests.post(f"{s.url}/v1/models/shapes:predict", json={"instances": [[1, 2]]}, headers={"X-API-Key": "user-key"})
        assert r.json() == {"predictions": [[2.0, 4.0, -0.5]]}


def test_a_body_is_not_read_from_who_may_not_send_it(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"]}, Settings(**KEYS)) as s:
        answer = s.raw(b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")


def test_the_repository(served: Served) -> None:
    shelf = Shelf()
    with Served({}, routes=lambda engine, settings: repository_routes(shelf, settings)) as s:
        post = lambda path, **more: requests.post(f"{s.url}/v2/repository/{path}", **more)
        assert post("index").json() == shelf.index() == post("index", json={}).json()
        assert post("index", json={"ready": True}).json() == shelf.index()[:1]
        assert post("models/shapes/load").json() == {} and post("models/shapes/unload", json={"parameters": {"unload_dependents": False}}).json() == {}
        assert shelf.told == [("load", "shapes"), ("unload", "shapes")]
        assert post("models/nothing/load").status_code == 404
        assert post("models/a%2Fb/load").status_code == 400
        assert post("models/shapes/load", json={"parameters": {"config": "{}"}}).status_code == 400
        for wrong in ([], {"ready": 1}):
            assert post("index", json=wrong).status_code == 400
        # A page in a browser on the same machine.
        assert post("models/shapes/unload", headers={"Origin": "http://evil.example"}).status_code == 403
        assert len(shelf.told) == 2
    assert requests.post(f"{served.url}/v2/repository/index").status_code == 404


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    for name in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "ext")
    return folder


def test_tls(models: dict[str, Path], certificates: Path) -> None:
    settings = Settings(tls_cert=certificates / "server.pem", tls_key=certificates / "server.key", max_body=4096)
    with Served({"shapes": models["shapes"]}, settings) as s:
        url = s.url.replace("http:", "https:")
        ask = lambda **more: requests.post(f"{url}/v1/models/shapes:predict", verify=str(certificates / "ca.pem"), **more)
        assert ask(json={"instances": [[1, 2]]}).json() == {"predictions": [[2.0, 4.0, -0.5]]}
        assert ask(data=bytes(5000)).status_code == 413
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{url}/v2")
        with s.connect() as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            plain.settimeout(5)
            assert not plain.recv(1000).startswith(b"HTTP")
        assert s.server.config.ssl is not None and s.server.config.ssl.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_clients_that_need_a_certificate(models: dict[str, Path], certificates: Path) -> None:
    tls = {"tls_cert": certificates / "server.pem", "tls_key": certificates / "server.key", "tls_client_ca": certificates / "ca.pem"}
    with Served({"shapes": models["shapes"]}, Settings(**tls)) as s:
        url, ca = s.url.replace("http:", "https:"), str(certificates / "ca.pem")
        pair = (str(certificates / "client.pem"), str(certificates / "client.key"))
        assert requests.get(f"{url}/v2", verify=ca, cert=pair).status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"{url}/v2", verify=ca)


def test_what_may_be_meant_is_looked_for_now_and_then_and_for_who_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long, and paths that do not exist are free."""
    asked: list[str] = []
    monkeypatch.setattr(routing, "nearest", lambda path, _: asked.append(path) or ["/v2"])
    settings = Settings(api_keys="user-key")
    router = Router(rest_routes(Engine(), settings), Gate(settings))
    for headers, status in (({}, Status.UNAUTHENTICATED), ({b"x-api-key": b"user-key"}, Status.NOT_FOUND)):
        for i in range(10):
            with pytest.raises(ServeError) as caught:
                router.admit(Request("GET", b"/v3/%d" % i, headers))
            assert caught.value.status is status
    assert asked == ["/v3/0"]
