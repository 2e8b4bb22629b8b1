"""Everything beside inference: who may call what, health, reflection, the repository, TLS, the end."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from fanal.serve.access import Right
from fanal.serve.bench import run
from fanal.serve.errors import ServeError, Status
from fanal.serve.grpc.messages import POOL, SERVICE
from fanal.serve.grpc.schema import file_from
from fanal.serve.version import State
from tests.serve import models
from tests.serve.grpc.calls import infer, output, request, stream
from tests.serve.grpc.house import House, house, status

X = np.ones((1, 3), np.float32)


class Keeper:
    """A repository that notes what is asked of it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def index(self) -> list[dict[str, Any]]:
        return [
            {"name": "m", "version": "1", "state": "READY", "reason": ""},
            {"name": "n", "version": "2", "state": "UNAVAILABLE", "reason": "damaged"},
        ]

    async def load(self, name: str) -> None:
        if name == "n":
            raise ServeError(Status.INVALID, "[load] version 2 of 'n' was not loaded: damaged.")
        self.done.append(f"load {name}")

    async def unload(self, name: str) -> None:
        self.done.append(f"unload {name}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.adding(tmp_path_factory.mktemp("models") / "m.fanal", 1.0)


@pytest.fixture(scope="module")
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture(scope="module")
def served(model: Path, keeper: Keeper) -> Iterator[House]:
    with house({"m": model}, keeper) as found:
        yield found


@pytest.fixture
def channel(served: House) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as found:
        yield found


# -- messages --------------------------------------------------------------------------------------------------


def test_messages_are_those_of_standard_clients() -> None:
    compared = 0

    def same(ours: Any) -> None:
        nonlocal compared
        theirs = service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(ours.full_name)
        for field in ours.fields:
            other = theirs.fields_by_name[field.name]
            assert _field(field) == _field(other), field.full_name
            compared += 1
        for nested in ours.nested_types:
            same(nested)

    file = POOL.FindFileByName("fanal/inference.proto")
    for message in file.message_types_by_name.values():
        same(message)
    for name, enum in file.enum_types_by_name.items():
        theirs = service_pb2.DESCRIPTOR.pool.FindEnumTypeByName(f"inference.{name}")
        assert {v.name: v.number for v in enum.values} == {v.name: v.number for v in theirs.values}
    assert compared > 150


def _field(f: Any) -> tuple[Any, ...]:
    kind = f.message_type or f.enum_type
    one = f.containing_oneof and f.containing_oneof.name
    return f.number, f.type, f.is_repeated, f.json_name, kind and kind.full_name, one


@pytest.mark.parametrize("text", ["message A {", "message A { string a 1; }", "rpc A;", "service S { get A; }", "message A { ? }"])
def test_a_file_that_is_no_schema(text: str) -> None:
    with pytest.raises(ValueError, match=r"a\.proto|proto3"):
        file_from(text, "a.proto")


# -- who may call what -----------------------------------------------------------------------------------------


def test_every_method_asks_the_gate(model: Path, tmp_path: Path) -> None:
    """With keys on the server, what each method of the table answers to nobody, to a user, to an administrator."""
    (tmp_path / "users").write_text("user-key\n")
    (tmp_path / "admins").write_text("admin-key\n")
    keys = {"api_key_file": tmp_path / "users", "admin_key_file": tmp_path / "admins"}
    with house({"m": model}, Keeper(), **keys) as served, grpc.insecure_channel(served.address) as channel:
        table = served.server.methods
        theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
        assert {f"/inference.GRPCInferenceService/{m.name}" for m in theirs.methods} <= set(table)
        for path, method in table.items():
            codes = [_code(channel, path, key) for key in (None, "other", "user-key", "admin-key")]
            nobody, wrong, user, admin = codes
            shut = {"UNAUTHENTICATED"}
            assert ({nobody, wrong} == shut) == (method.right is not Right.HEALTH), path
            assert (user == "PERMISSION_DENIED") == (method.right is Right.ADMIN), path
            assert admin not in ("UNAUTHENTICATED", "PERMISSION_DENIED"), path
        rights = {p.rpartition("/")[2]: m.right for p, m in table.items()}
        assert {n for n, r in rights.items() if r is Right.ADMIN} == {"RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"}
        assert {n for n, r in rights.items() if r is Right.HEALTH} == {"ServerLive", "ServerReady", "Check", "Watch"}
        assert _code(channel, "/inference.GRPCInferenceService/Other", "admin-key") == "UNIMPLEMENTED"
        with triton.InferenceServerClient(served.address) as client:
            assert client.get_model_metadata("m", headers={"authorization": "Bearer user-key"}).name == "m"
            assert client.get_model_metadata("m", headers={"x-api-key": "user-key"}).name == "m"


def _code(channel: grpc.Channel, path: str, key: str | None) -> str:
    metadata = [] if key is None else [("authorization", f"Bearer {key}")]
    call = channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=10)
    try:
        for _ in call:
            call.cancel()  # Watch goes on for ever
            return "OK"
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_what_there_is_nothing_behind_says_so(served: House) -> None:
    with triton.InferenceServerClient(served.address) as client:
        for call in (client.get_system_shared_memory_status, client.get_cuda_shared_memory_status, client.get_trace_settings, client.get_log_settings):
            with pytest.raises(InferenceServerException, match=r"UNIMPLEMENTED.*this server does not"):
                call()


# -- health, reflection ----------------------------------------------------------------------------------------


def test_health(served: House, channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "inference.GRPCInferenceService", "m"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == health_pb2.HealthCheckResponse.SERVING
    assert status(lambda: stub.Check(health_pb2.HealthCheckRequest(service="n")))[0] == "NOT_FOUND"
    version = served.version()
    watched = stub.Watch(health_pb2.HealthCheckRequest(service="m"), timeout=10)
    unknown = stub.Watch(health_pb2.HealthCheckRequest(service="n"), timeout=10)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    try:
        version.state = State.LOADING
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        version.state = State.READY
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    watched.cancel()
    unknown.cancel()


def test_many_who_watch_are_told_of_each_change_within_a_second(served: House, channel: grpc.Channel) -> None:
    stub, version = health_pb2_grpc.HealthStub(channel), served.version()
    watching = [stub.Watch(health_pb2.HealthCheckRequest(service=s), timeout=20) for s in ("", "m") * 50]
    try:
        for call in watching:
            assert next(call).status == health_pb2.HealthCheckResponse.SERVING
        for state, expected in ((State.LOADING, "NOT_SERVING"), (State.READY, "SERVING")) * 2:
            start = time.monotonic()
            version.state = state
            for call in watching:
                assert health_pb2.HealthCheckResponse.ServingStatus.Name(next(call).status) == expected
            assert time.monotonic() - start < 1
    finally:
        version.state = State.READY
        for call in watching:
            call.cancel()


@pytest.mark.parametrize("name", ["grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"])
def test_reflection(channel: grpc.Channel, name: str) -> None:
    call = channel.stream_stream(
        f"/{name}/ServerReflectionInfo", reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )  # fmt: skip
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
    ]
    listed, file, nothing = call(iter(questions), timeout=10)
    services = {s.name for s in listed.list_services_response.service}
    # grpcurl describes all that is listed.
    for found in call((reflection_pb2.ServerReflectionRequest(file_containing_symbol=s) for s in services), timeout=10):
        described = FileDescriptorProto.FromString(found.file_descriptor_response.file_descriptor_proto[0])
        assert f"{described.package}.{described.service[0].name}" in services
        assert all(m.input_type.startswith(f".{described.package}.") for m in described.service[0].method)
    assert services == {SERVICE.full_name, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
    described = FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0])
    assert described.package == "inference" and len(described.service[0].method) == 12
    assert nothing.HasField("error_response")


def test_the_stub_of_reflection_works(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health")])
    (found,) = stub.ServerReflectionInfo(asked, timeout=10)
    assert found.file_descriptor_response.file_descriptor_proto


# -- the repository --------------------------------------------------------------------------------------------


def test_the_repository(served: House, keeper: Keeper) -> None:
    with triton.InferenceServerClient(served.address) as client:
        index = client.get_model_repository_index()
        assert [(m.name, m.version, m.state, m.reason) for m in index.models] == [
            ("m", "1", "READY", ""), ("n", "2", "UNAVAILABLE", "damaged"),
        ]  # fmt: skip
        client.load_model("m")
        client.unload_model("m")
        assert keeper.done == ["load m", "unload m"]
        with pytest.raises(InferenceServerException, match="damaged"):
            client.load_model("n")
        with pytest.raises(InferenceServerException, match="model_name"):
            client.load_model("../n")
        with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
            client.load_model("m", config="{}", files={"file:1/model.fanal": b"x"})
        assert keeper.done == ["load m", "unload m"]


def test_without_a_repository(model: Path) -> None:
    with house({"m": model}) as served, triton.InferenceServerClient(served.address) as client:
        for call in (client.get_model_repository_index, lambda: client.load_model("m"), lambda: client.unload_model("m")):
            with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
                call()


# -- connections -----------------------------------------------------------------------------------------------


def test_a_client_that_pings_is_not_thrown_out(served: House) -> None:
    options = [
        ("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
    ]  # fmt: skip
    with grpc.insecure_channel(served.address, options) as channel:
        assert output(infer(channel, request(x=X)))[0, 0] == 2


def test_a_port_that_is_taken(served: House, model: Path) -> None:
    with pytest.raises(ValueError, match=r"can't listen on 127.0.0.1:\d+ for grpc: got Address already in use.*--grpc-port"):
        _start_on(served.port, model)


def _start_on(port: int, model: Path) -> None:
    import asyncio

    from fanal.serve.access import Gate
    from fanal.serve.engine import Engine
    from fanal.serve.grpc import GrpcServer
    from fanal.serve.settings import Settings

    async def main() -> None:
        settings = Settings()
        server = GrpcServer(Engine(), settings, Gate(settings))
        try:
            await server.start("127.0.0.1", port)
        finally:
            await server.stop(0)

    asyncio.run(main())


def test_stopping_answers_what_has_come_and_ends_streams(tmp_path: Path) -> None:
    spin = models.spinning(tmp_path / "m.fanal")
    with house({"m": spin}) as served, grpc.insecure_channel(served.address) as channel:
        message = request(turns=np.array(10_000_000))
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        held = threading.Event()

        def messages() -> Iterator[Any]:
            yield message
            held.wait(20)

        streaming = stream(channel, messages())
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(message.SerializeToString())
        while served.version().statistics.pending < 2:
            time.sleep(0.005)
        start = time.monotonic()
        served.call(served.server.stop(20))
        assert time.monotonic() - start < 10  # nobody who only listens is waited for
        assert call.result(5) and next(streaming).infer_response.outputs
        assert status(lambda: next(streaming))[0] == "UNAVAILABLE"
        assert [w.status for w in watch] == [health_pb2.HealthCheckResponse.NOT_SERVING]
        held.set()


def test_stopping_under_load_drops_nothing(model: Path) -> None:
    """gRPC itself cancels what has come but was not handed out yet."""
    with house({"m": model}) as served:
        stopping = threading.Timer(0.5, lambda: served.call(served.server.stop(5)))
        stopping.start()
        found = run(served.address, "m", protocol="grpc", concurrency=16, duration=0.8, warm_up=0, patience=0.5, inputs=[{"x": X}])
        stopping.join()
        statistics = served.version().statistics
        assert found.sent == found.succeeded == statistics.received == statistics.success > 50
        assert not found.refused and not found.errors


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates by openssl")
def test_tls_and_client_certificates(model: Path, tmp_path: Path) -> None:
    _certificates(tmp_path)
    tls = {"tls_cert": tmp_path / "server.pem", "tls_key": tmp_path / "server.key", "tls_client_ca": tmp_path / "ca.pem"}
    ca = (tmp_path / "ca.pem").read_bytes()
    pair = ((tmp_path / "client.key").read_bytes(), (tmp_path / "client.pem").read_bytes())
    with house({"m": model}, **tls) as served:
        address = f"localhost:{served.port}"
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, *pair)) as channel:
            assert output(infer(channel, request(x=X)))[0, 0] == 2
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(ca)) as channel:
            assert status(lambda: infer(channel, request(x=X), timeout=5))[0] == "UNAVAILABLE"
        with grpc.insecure_channel(address) as channel:
            assert status(lambda: infer(channel, request(x=X), timeout=5))[0] == "UNAVAILABLE"


def _certificates(folder: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "names")
