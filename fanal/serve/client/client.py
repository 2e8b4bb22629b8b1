"""`fanal.serve.Client`: models of a server as functions of arrays."""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, overload
from urllib.parse import quote

import numpy as np

from fanal.core.errors import message
from fanal.serve.client.errors import RequestError
from fanal.serve.client.tensors import HEAD_LENGTH, array_of, binary_request, outputs_of
from fanal.serve.client.transport import Answer, Transport

_AGAIN = (429, 503)
# Seconds that an answer may be late by: the server's own word of a missed deadline says more than a broken connection.
_MARGIN = 1.0
_POLL = 0.05


class Client:
    """Talks to a server that speaks the Open Inference Protocol v2 over REST, with binary tensors.

    >>> client = Client("http://127.0.0.1:8000")               # doctest: +SKIP
    >>> logits = client.infer("digits", x)                     # an array in, the model's one output out
    >>> found = client.infer("digits", {"x": x})["logits"]     # by name in, by name out

    url: of the server; a path before /v2 is kept. api_key: sent as `Authorization: Bearer`.
    timeout: seconds that a request may take, connecting included; the server is told and does not compute
    what nobody waits for. retries: how often a request is sent again that was refused for lack of room (429, 503)
    and that the server says when to send again; never, if not asked for.
    tls: how an https server is verified (the system's authorities if not given; client certificates go there).

    A client may be used by several threads; each has a connection of its own, which is kept open.
    Raises RequestError where the server refuses; TimeoutError or ConnectionError where it does not answer.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout: float = 60.0,
        retries: int = 0, tls: ssl.SSLContext | None = None,
    ):  # fmt: skip
        self._transport = Transport(url, tls)
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._timeout, self._retries = timeout, retries
        self._known: dict[tuple[str, int | str | None], Mapping[str, Any]] = {}

    # -- inference -------------------------------------------------------------------------------------

    @overload
    def infer(
        self, model: str, inputs: Mapping[str, Any], *, version: int | str | None = ..., outputs: Sequence[str] | str = ...,
        timeout: float | None = ..., priority: int = ..., id: str | None = ...,
    ) -> dict[str, np.ndarray]: ...  # fmt: skip

    @overload
    def infer(
        self, model: str, inputs: Any, *, version: int | str | None = ..., outputs: Sequence[str] | str = ...,
        timeout: float | None = ..., priority: int = ..., id: str | None = ...,
    ) -> np.ndarray: ...  # fmt: skip

    def infer(
        self, model: str, inputs: Any, *, version: int | str | None = None, outputs: Sequence[str] | str = (),
        timeout: float | None = None, priority: int = 0, id: str | None = None,
    ) -> dict[str, np.ndarray] | np.ndarray:  # fmt: skip
        """Outputs of a model.

        inputs: by name, and outputs come by name; or the one input itself (shape with the batch dimension), and
        the one output comes itself. Each is an array, a tensor, or nested lists, which become the model's datatype.
        version: the newest if None. outputs: names of those wanted; all if empty.
        timeout: seconds, instead of the client's. priority: 1 goes first, larger numbers later, 0 last.
        The arrays that come back cannot be written to; copy them to change them.
        """
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        named = isinstance(inputs, Mapping)
        given = self._named(model, version, inputs, names) if not named else self._arrays(model, version, inputs)
        timeout = self._timeout if timeout is None else timeout
        parameters: dict[str, Any] = {"timeout": max(1, round(timeout * 1e6))}
        if priority:
            parameters["priority"] = priority
        headers, body = binary_request(given, names, parameters, id)
        try:
            answer = self._send("POST", f"{_path(model, version)}/infer", headers, body, timeout)
        except RequestError as error:
            if error.status in (400, 404):
                self._known.clear()  # there may be another version now, which takes other things
            raise
        found = outputs_of(answer.body, answer.headers.get(HEAD_LENGTH))
        if named:
            return found
        if len(found) != 1:
            raise _several(model, found)
        return next(iter(found.values()))

    def _named(self, model: str, version: int | str | None, value: Any, names: list[str]) -> dict[str, np.ndarray]:
        known = self._metadata(model, version)
        if len(known["inputs"]) != 1:
            takes = ", ".join(t["name"] for t in known["inputs"])
            raise ValueError(message("infer", f"{model!r} has not one input", takes, "", "inputs by name: {name: array, …}"))
        if len(names or known["outputs"]) != 1:
            raise _several(model, names or [t["name"] for t in known["outputs"]])
        tensor = known["inputs"][0]
        return {tensor["name"]: array_of(value, tensor["datatype"])}

    def _arrays(self, model: str, version: int | str | None, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        kinds: dict[str, str] = {}
        if not all(hasattr(v, "__array__") for v in inputs.values()):
            kinds = {t["name"]: t["datatype"] for t in self._metadata(model, version)["inputs"]}
        return {name: array_of(value, kinds.get(name)) for name, value in inputs.items()}

    def _metadata(self, model: str, version: int | str | None) -> Mapping[str, Any]:
        found = self._known.get((model, version))
        if found is None:
            found = self._known[(model, version)] = self.metadata(model, version)
        return found

    # -- questions -------------------------------------------------------------------------------------

    def metadata(self, model: str | None = None, version: int | str | None = None) -> dict[str, Any]:
        """What a model takes and gives (name, versions, inputs, outputs: each name, datatype, shape); of the
        server (name, version, extensions) without a model."""
        return self._json("/v2" if model is None else _path(model, version))

    def config(self, model: str, version: int | str | None = None) -> dict[str, Any]:
        """How a model is set up: its batches, its queue."""
        return self._json(f"{_path(model, version)}/config")

    def stats(self, model: str | None = None, version: int | str | None = None) -> list[dict[str, Any]]:
        """What happened to requests, for each version of a model, or of all."""
        path = "/v2/models" if model is None else _path(model, version)
        found: list[dict[str, Any]] = self._json(f"{path}/stats")["model_stats"]
        return found

    def models(self) -> dict[str, list[str]]:
        """Names of models, and the versions of each that there are."""
        found: dict[str, list[str]] = {}
        for s in self.stats():
            found.setdefault(s["name"], []).append(s["version"])
        return found

    def live(self) -> bool:
        """Whether the server runs."""
        return self._asked("/v2/health/live")

    def ready(self, model: str | None = None, version: int | str | None = None) -> bool:
        """Whether a model answers; all of them, without one."""
        return self._asked("/v2/health/ready" if model is None else f"{_path(model, version)}/ready")

    def wait_until_ready(self, timeout: float = 60.0, model: str | None = None) -> None:
        """Return when the server (or a model) is ready; TimeoutError if that takes longer."""
        end = time.monotonic() + timeout
        why = ""
        while True:
            try:
                if self.ready(model):
                    return
                why = ""
            except OSError as error:
                why = str(error)  # it does not listen yet
            if time.monotonic() + _POLL > end:
                what = "the server" if model is None else repr(model)
                raise TimeoutError(message("Client", f"{what} was not ready within {timeout:g} seconds", why.rstrip(".") or None))
            time.sleep(_POLL)

    # -- the end ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close its connections. It opens new ones if it is used again."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- sending ---------------------------------------------------------------------------------------

    def _json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._send("GET", path, {}, None, self._timeout).body)
        return found

    def _asked(self, path: str) -> bool:
        return self._transport.send("GET", path, self._headers, None, self._timeout).status == 200

    def _send(self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout: float) -> Answer:
        end = time.monotonic() + timeout
        left = self._retries
        while True:
            patience = max(0.001, end - time.monotonic()) + _MARGIN
            answer = self._transport.send(method, path, {**self._headers, **headers}, body, patience)
            if answer.status < 300:
                return answer
            error = _error(answer)
            again = error.status in _AGAIN and error.retry_after is not None and left > 0
            if not again or error.retry_after is None or time.monotonic() + error.retry_after >= end:
                raise error
            left -= 1
            # Not all who were refused at once should come back at once.
            time.sleep(error.retry_after * random.uniform(1.0, 1.25))


def _path(model: str, version: int | str | None) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(str(version), safe='')}"


def _error(answer: Answer) -> RequestError:
    text = answer.body.decode("utf-8", "replace")
    try:
        text = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        pass  # something between here and the server said it in its own form
    after = answer.headers.get("Retry-After", "")
    try:
        seconds = max(0.0, float(after))
    except ValueError:
        return RequestError(answer.status, text)
    return RequestError(answer.status, text, seconds)


def _several(model: str, names: Any) -> ValueError:
    given = ", ".join(names)
    return ValueError(message("infer", f"{model!r} has not one output", given, "", "outputs=NAME, or inputs by name: {name: array}"))
