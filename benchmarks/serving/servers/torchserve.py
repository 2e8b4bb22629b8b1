"""TorchServe: a Java front end, a Python worker process each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.serving.servers.server import Command, Server, Setting
from benchmarks.serving.wire import Request, Way

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PROPERTIES = """
inference_address=http://127.0.0.1:{ports[0]}
management_address=http://127.0.0.1:{ports[1]}
metrics_address=http://127.0.0.1:{ports[2]}
enable_grpc=false
disable_token_authorization=true
enable_envvars_config=false
model_store={store}
load_models={case}.mar
job_queue_size=1000
metrics_mode=prometheus
models={models}
"""
LOGS = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR"><Appenders><Console name="c" target="SYSTEM_ERR"><PatternLayout pattern="%d %p %m%n"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="c"/></Root></Loggers></Configuration>
"""


def _command(setting: Setting) -> Command:
    store = setting.scratch / "store"
    store.mkdir(parents=True, exist_ok=True)
    facts = setting.scratch / "setting.json"
    facts.write_text(json.dumps({**setting._asdict(), **setting.facts()}, default=str))
    archive = [
        str(BIN / "torch-model-archiver"), "--model-name", setting.case, "--version", "1.0", "--force",
        "--handler", str(HERE / "torchserve_handler.py"), "--extra-files", str(facts), "--export-path", str(store),
    ]  # fmt: skip
    subprocess.run(archive, check=True, capture_output=True)
    workers = setting.processors
    model = {
        "defaultVersion": True, "marName": f"{setting.case}.mar", "minWorkers": workers, "maxWorkers": workers,
        "batchSize": setting.batch, "maxBatchDelay": 1, "responseTimeout": 120,
    }  # fmt: skip
    models = json.dumps({setting.case: {"1.0": model}})
    properties, logs = setting.scratch / "config.properties", setting.scratch / "log4j2.xml"
    properties.write_text(PROPERTIES.format(ports=setting.ports, store=store, case=setting.case, models=models))
    logs.write_text(LOGS)
    arguments = [
        str(BIN / "torchserve"), "--start", "--foreground", "--disable-token-auth", "--ncs",
        "--ts-config", str(properties), "--log-config", str(logs), "--model-store", str(store),
    ]  # fmt: skip
    # The worker's processes are started by the interpreter that is first on the path.
    return Command(arguments, {"LOG_LOCATION": str(setting.scratch), "METRICS_LOCATION": str(setting.scratch)})


def _request(model: str, row: np.ndarray) -> Request:
    return Request(f"/predictions/{model}", json.dumps({"x": row.tolist()}).encode())


def _answer(headers: dict[str, str], body: bytes) -> np.ndarray:
    return np.array(json.loads(body)["logits"], np.float32)


SERVER = Server(
    "torchserve", "TorchServe", ("torchserve", "torch-model-archiver", "torch"),
    "batchSize 32 and maxBatchDelay 1 ms (the least), one worker a processor, metrics kept for Prometheus instead of a line "
    "in a log for each request, logs at level warn, no token authorisation, a TorchScript module, one thread each",
    _command, "/ping", (Way("its JSON", "json", _request, _answer),),
)  # fmt: skip
