"""What `fanal serve` says where it can't begin, and what its help says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fanal.cli import main
from fanal.serve.settings import Settings, misspelt
from tests.serve import models


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.adding(tmp_path_factory.mktemp("models") / "m.fanal", 1.0)


def refused(*arguments: str) -> str:
    """What a server says that does not start."""
    done = subprocess.run([sys.executable, "-m", "fanal.cli", "serve", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_mistakes_are_named_by_what_was_written(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            ([""], "there is no path"),
            ([str(tmp_path / "n.fanal")], "no such file or folder"),
            ([str(file), "--max-batch", "x"], "--max-batch: "),
            ([str(file), "--api-key-file", "/no/such"], "--api-key-file: there is no such file: got /no/such."),
            ([str(file), "--tls-cert", str(text), "--tls-key", str(text)], "--tls-cert with --tls-key can't be used"),
            ([str(file), "--ready-file", "/no/such/file"], "the ready file has no folder"),
            ([str(file), "--http-port", port], f"can't listen on 127.0.0.1:{port} for http: got Address already in use. Try: --http-port"),
            ([str(file), "--http-port", "0", "--metrics-port", "0", "--grpc-port", port], f"127.0.0.1:{port} for grpc: got Address already in use"),
            ([str(file), "--host", "198.51.100.1", "--insecure"], "Try: --host with an address of this machine."),
        ):
            assert said in refused(*arguments), arguments
    monkeypatch.setenv("FANAL_SERVE_MAX_BATCH", "x")
    assert "FANAL_SERVE_MAX_BATCH in the environment: " in refused(str(file))


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANAL_SERVE_GRPC_PORT", "none")
    assert Settings().grpc_port is None and Settings(http_port="none").http_port is None  # type: ignore[arg-type]
    (text,) = misspelt(["FANAL_SERVE_API_KEY", "FANAL_SERVE_MAX_BATCH", "FANAL_SERVE_SERVICE_HOST", "FANAL_SERVE_PORT_8000_TCP_ADDR", "HOME"])
    assert "FANAL_SERVE_API_KEY." in text and "FANAL_SERVE_API_KEYS" in text


def test_options_stand_where_they_belong(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    places = [shown.index(t) for t in ("where it listens:", "  --host ", "who may ask:", "  --tls-client-ca ", "models:\n", "  --name ", "batches and queues:")]
    assert places == sorted(places)


def test_a_signal_that_comes_twice_at_once_is_one(file: Path, tmp_path: Path) -> None:
    """`timeout` and others pass on what the terminal has sent already. And an old ready file is no word of this server."""
    ready = tmp_path / "ready.json"
    ready.write_text("{}")
    command = [sys.executable, "-m", "fanal.cli", "serve", str(file), "--ready-file", str(ready)]
    process = subprocess.Popen([*command, "--http-port", "0", "--grpc-port", "none", "--metrics-port", "none"], stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 60
        while not ready.exists() or ready.read_text() == "{}":
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        assert json.loads(ready.read_text())["pid"] == process.pid
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0 and "ended after" in said and "at once" not in said
    finally:
        process.kill()
