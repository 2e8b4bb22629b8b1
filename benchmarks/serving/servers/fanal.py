"""Fanal: `fanal serve`, as a user starts it."""

from __future__ import annotations

import shutil
import sys

from benchmarks.serving.servers.server import Command, Server, Setting
from benchmarks.serving.wire import V2_BINARY, V2_JSON


def _command(setting: Setting) -> Command:
    setting.scratch.mkdir(parents=True, exist_ok=True)
    path = setting.scratch / f"{setting.case}.fanal"
    shutil.copyfile(setting.folder / "model.fanal", path)
    http, grpc, metrics = setting.ports
    return Command([
        sys.executable, "-m", "fanal.cli", "serve", str(path), "--http-port", str(http), "--grpc-port", str(grpc),
        "--metrics-port", str(metrics), "--max-batch", str(setting.batch), "--log-level", "warning",
    ])  # fmt: skip


SERVER = Server(
    "fanal", "Fanal", ("fanal",),
    "the defaults: one worker, batches of at most 32 that form while the one before is computed",
    _command, "/v2/health/ready", (V2_JSON, V2_BINARY), ours=True,
)  # fmt: skip
ALONE = Server(
    "fanal-alone", "Fanal, no batching", ("fanal",), "as Fanal, with --max-batch 1", _command, "/v2/health/ready",
    (V2_JSON, V2_BINARY), ours=True, batch=1, sized=True,
)  # fmt: skip
