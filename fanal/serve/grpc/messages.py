"""The messages of `inference.proto` as classes.

They live in a pool of their own: a client of another make in the same process brings files of the same names.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from fanal.serve.grpc.schema import file_from

POOL = DescriptorPool()
POOL.AddSerializedFile(file_from((files(__package__) / "inference.proto").read_text("utf-8"), "fanal/inference.proto").SerializeToString())
SERVICE = POOL.FindServiceByName("inference.GRPCInferenceService")


def _message(name: str) -> Any:
    return GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


ModelInferRequest = _message("ModelInferRequest")
ModelInferResponse = _message("ModelInferResponse")
ModelStreamInferResponse = _message("ModelStreamInferResponse")


def request_of(method: str) -> Any:
    """The class of a method's requests."""
    return GetMessageClass(SERVICE.methods_by_name[method].input_type)


def response_of(method: str) -> Any:
    """The class of a method's responses."""
    return GetMessageClass(SERVICE.methods_by_name[method].output_type)
