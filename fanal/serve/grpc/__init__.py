"""Open Inference Protocol v2 over gRPC, the health protocol and reflection."""
