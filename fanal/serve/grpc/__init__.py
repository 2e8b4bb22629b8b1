"""Open Inference Protocol v2 over gRPC, the health protocol and reflection."""

from fanal.serve.grpc.administering import Admin
from fanal.serve.grpc.server import GrpcServer

__all__ = ["Admin", "GrpcServer"]
