"""JSON schemas of what is sent and answered: the parts of the OpenAPI document that no model changes."""

from __future__ import annotations

from typing import Any

from fanal.serve.datatypes import BYTES, DATATYPES

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
# No type: not finite numbers have none that schemas know.
SCORE: Schema = {"description": "a number; NaN, Infinity or -Infinity where it is not finite"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"}
PARAMETERS: Schema = {
    "type": ["object", "null"],
    "description": "timeout: microseconds that the answer is worth waiting for; priority: 1 goes first, larger numbers later, 0 (none) last; "
    "binary_data_output, binary_data: true or false; binary_data_size: bytes; classification: how many classes. Others are ignored.",
}


def ref(name: str) -> Schema:
    """A schema of this page."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: str, **fields: Schema) -> Schema:
    """An object: names of members that it must have, separated by blanks, and its members."""
    found: Schema = {"type": "object", "properties": fields}
    return {**found, "required": required.split()} if required else found


def listed(item: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": item, **more}


def _maybe(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


_DATATYPE: Schema = {"type": "string", "enum": [*DATATYPES]}
_SHAPE = listed(COUNT, maxItems=32)
_TENSOR = record("name datatype shape", name=STRING, datatype=_DATATYPE, shape=listed({"type": "integer", "minimum": -1}))
_DURATION = record("count ns", count=COUNT, ns=COUNT)
_CONFIGURED = record("name data_type dims", name=STRING, data_type=STRING, dims=listed({"type": "integer", "minimum": -1}))
_STATUS = record(
    "version state status", version=STRING, state={"type": "string", "enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
    status=record("error_code error_message", error_code=STRING, error_message=STRING),
)  # fmt: skip
_STATS = "success fail queue compute_input compute_infer compute_output"
_MODEL_STATS = record(
    "name version last_inference inference_count execution_count inference_stats batch_stats",
    name=STRING, version=STRING, last_inference=COUNT, inference_count=COUNT, execution_count=COUNT,
    inference_stats=record(_STATS, **{n: _DURATION for n in _STATS.split()}),
    batch_stats=listed(record("batch_size", batch_size=COUNT, compute_input=_DURATION, compute_infer=_DURATION, compute_output=_DURATION)),
)  # fmt: skip
_SIGNATURE = record("inputs outputs method_name", inputs={"type": "object"}, outputs={"type": "object"}, method_name=STRING)

SCHEMAS: dict[str, Schema] = {
    "Error": record("error", error={"type": "string", "description": "what happened; expected …; Try: …"}),
    "Nothing": record(""),
    "Index": record("name version links", name=STRING, version=STRING, links={"type": "object", "additionalProperties": STRING}),
    "Document": record("openapi info paths", openapi=STRING, info={"type": "object"}, paths={"type": "object"}),
    "Live": record("live", live={"const": True}),
    "Ready": record("ready", ready={"type": "boolean"}),
    "ServerMetadata": record("name version extensions", name=STRING, version=STRING, extensions=listed(STRING)),
    "ModelMetadata": record(
        "name versions platform inputs outputs", name=NAME, versions=listed(STRING), platform=STRING, inputs=listed(_TENSOR), outputs=listed(_TENSOR),
    ),
    # With 400 it says that the model does not answer, or what is wrong with the request.
    "ModelReady": {"anyOf": [record("name version ready", name=NAME, version=STRING, ready={"type": "boolean"}), ref("Error")]},
    "ModelConfig": record(
        "name platform max_batch_size input output", name=NAME, platform=STRING, max_batch_size=COUNT, input=listed(_CONFIGURED), output=listed(_CONFIGURED),
        dynamic_batching=record("preferred_batch_size", preferred_batch_size=listed(COUNT), max_queue_delay_microseconds=COUNT),
    ),
    "Statistics": record("model_stats", model_stats=listed(_MODEL_STATS)),
    "InferRequest": record(
        "inputs",
        id=_maybe(STRING), parameters=PARAMETERS,
        inputs=listed(record(
            "name shape datatype", name=STRING, shape=_SHAPE, datatype=_DATATYPE, parameters=PARAMETERS,
            data={"description": "in row-major order, flat, or nested as the shape says"},
        )),
        outputs={"type": ["array", "null"], "items": record("name", name=STRING, parameters=PARAMETERS)},
    ),
    "InferResponse": record(
        "model_name model_version outputs", model_name=NAME, model_version=STRING, id=STRING,
        outputs=listed(record(
            "name datatype shape", name=STRING, shape=_SHAPE, datatype={"type": "string", "enum": [*DATATYPES, BYTES]}, data=listed({}), parameters={"type": "object"},
        )),
    ),
    "PredictRequest": {
        "type": "object",
        "properties": {
            "signature_name": _maybe(STRING),
            "instances": listed({"description": "a row of the only input, or an object of the inputs' rows"}, minItems=1),
            "inputs": {"description": "the only input, or an object of inputs"},
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    },
    "PredictResponse": {"anyOf": [record("predictions", predictions=listed({})), record("outputs", outputs={})]},
    "ExamplesRequest": record("examples", signature_name=_maybe(STRING), context={"type": ["object", "null"]}, examples=listed({"type": "object"}, minItems=1)),
    "ClassifyResponse": record("result", result=listed(listed(listed({"description": "the label, then the score"}, minItems=2, maxItems=2)))),
    "RegressResponse": record("result", result=listed(SCORE)),
    "ModelVersionStatus": record("model_version_status", model_version_status=listed(_STATUS)),
    "SignatureMetadata": record(
        "model_spec metadata", model_spec=record("name signature_name version", name=NAME, signature_name=STRING, version=STRING),
        metadata=record("signature_def", signature_def=record("signature_def", signature_def={"type": "object", "additionalProperties": _SIGNATURE})),
    ),
    "RepositoryIndexRequest": record("", ready={"type": "boolean"}),
    "RepositoryIndex": listed(record("name", name=NAME, version=STRING, state=STRING, reason=STRING)),
    "RepositoryRequest": record("", parameters={"type": ["object", "null"], "maxProperties": 0}),
}  # fmt: skip
