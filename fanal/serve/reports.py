"""What the server says of itself and its models, as plain data: the forms of the Open Inference Protocol
(those of Triton where it goes further) and of TensorFlow Serving.

REST sends these as they are; gRPC makes messages of them, whose fields have the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fanal.serve.engine import Entry, Trouble
from fanal.serve.errors import Status
from fanal.serve.interface import SERVING_DEFAULT, Function, Port
from fanal.serve.statistics import Duration
from fanal.serve.version import State, Version
from fanal.version import __version__

Report = dict[str, Any]

PLATFORM = "fanal"
NAME = "fanal"
# What of the protocol's optional parts is there, in the protocol's words.
EXTENSIONS = (
    "classification", "binary_tensor_data", "parameters", "schedule_policy", "statistics", "model_configuration",
)  # fmt: skip


def server_metadata(
    extensions: Iterable[str] = EXTENSIONS, name: str = NAME, version: str = __version__
) -> Report:
    """GET /v2."""
    return {"name": name, "version": version, "extensions": list(extensions)}


# -- a model -----------------------------------------------------------------------------------------


def model_metadata(version: Version, entry: Entry) -> Report:
    """GET /v2/models/{m}: its versions that answer, and what the function takes and gives that is called
    where a request names none. Dimensions that are open are -1."""
    function = version.description.function(None)
    return {
        "name": version.model,
        "versions": [str(n) for n in entry.ready()],
        "platform": PLATFORM,
        "inputs": [_tensor(p) for p in function.inputs.values()],
        "outputs": [_tensor(p) for p in function.outputs.values()],
    }


def model_config(version: Version) -> Report:
    """GET /v2/models/{m}/config: Triton's ModelConfig. Where rows share batches, `dims` don't name them."""
    function = version.description.function(None)
    inputs, outputs = function.inputs.values(), function.outputs.values()
    report = {
        "name": version.model,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "runtime": "",
        "version_policy": {"specific": {"versions": [version.number]}},
        "max_batch_size": function.most if function.batched else 0,
        "input": [{**_config(p, function), "format": "FORMAT_NONE", "optional": False} for p in inputs],
        "output": [{**_config(p, function), "label_filename": ""} for p in outputs],
        "instance_group": [
            {"name": version.model, "kind": "KIND_CPU", "count": max(1, len(version.executors))}
        ],
        "default_model_filename": "",
        "parameters": {},
        "model_transaction_policy": {"decoupled": False},
    }
    if function.batched:
        report["dynamic_batching"] = {
            "preferred_batch_size": list(function.sizes),
            "max_queue_delay_microseconds": round(version.flow.batch_delay * 1e6),
            "preserve_ordering": False,
        }
    return report


def _tensor(port: Port) -> Report:
    return {"name": port.name, "datatype": port.datatype.name, "shape": list(port.shape)}


def _config(port: Port, function: Function) -> Report:
    dims = port.shape[1:] if function.batched else port.shape
    return {"name": port.name, "data_type": f"TYPE_{port.datatype.name}", "dims": list(dims)}


# -- statistics --------------------------------------------------------------------------------------


def statistics(versions: Iterable[Version]) -> Report:
    """GET /v2/models/stats: what happened to requests since each version came."""
    return {"model_stats": [_statistics(v) for v in versions]}


def _statistics(version: Version) -> Report:
    s = version.statistics
    return {
        "name": version.model,
        "version": str(version.number),
        "last_inference": int(s.last_inference * 1000),
        "inference_count": s.inferences,
        "execution_count": s.executions,
        "inference_stats": {
            "success": _duration(s.succeeded),
            "fail": _duration(s.failed),
            "queue": _duration(s.queued),
            "compute_input": _duration(s.input),
            "compute_infer": _duration(s.infer),
            "compute_output": _duration(s.output),
            "cache_hit": _duration(Duration()),
            "cache_miss": _duration(Duration()),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _duration(given),
                "compute_infer": _duration(computed),
                "compute_output": _duration(taken),
            }
            for rows, (given, computed, taken) in sorted(s.batches.items())
        ],
    }


def _duration(d: Duration) -> Report:
    return {"count": d.count, "ns": d.ns}


# -- TensorFlow Serving ------------------------------------------------------------------------------


def version_states(entry: Entry, leaving: Iterable[Version]) -> dict[int, Trouble]:
    """Of a model's versions by number, the newest first: what state each is in, and why it does not answer if it
    could not be loaded. `leaving`: versions, of any model, that only answer what they had taken."""
    states = {v.number: Trouble(v.state, "") for v in leaving if v.model == entry.name}
    states.update(entry.troubles)
    # One that answers does so whatever became of its successor of the same number.
    states.update((n, Trouble(v.state, "")) for n, v in entry.versions.items())
    return dict(sorted(states.items(), reverse=True))


def model_version_status(states: Mapping[int, Trouble]) -> Report:
    """GET /v1/models/{m}."""
    return {"model_version_status": [_status(number, *states[number]) for number in states]}


def _status(number: int, state: State, why: str) -> Report:
    code = Status.INVALID.code if state is State.ENDED else "OK"
    return {"version": str(number), "state": state.value, "status": {"error_code": code, "error_message": why}}


def signature_metadata(version: Version) -> Report:
    """GET /v1/models/{m}/metadata."""
    description = version.description
    named = dict(description.functions)
    named.setdefault(SERVING_DEFAULT, description.function(None))
    return {
        "model_spec": {"name": version.model, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": {n: _signature(f) for n, f in named.items()}}},
    }


def _signature(function: Function) -> Report:
    return {
        "inputs": {p.name: _tensor_info(p) for p in function.inputs.values()},
        "outputs": {p.name: _tensor_info(p) for p in function.outputs.values()},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor_info(port: Port) -> Report:
    dims = [
        {"size": str(n), "name": "" if n >= 0 else name}
        for n, name in zip(port.shape, port.dims, strict=True)
    ]
    return {
        "dtype": port.datatype.tensorflow,
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": port.name,
    }
