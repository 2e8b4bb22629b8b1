"""Everything about a server that can be set: by arguments of `fanal serve`, by FANAL_SERVE_… in the environment.

Each field's description is its help text.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fanal.core.errors import message, nearest

Port = Annotated[int, Field(ge=0, le=65535)]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Settings(BaseSettings):
    """Settings of a server."""

    model_config = SettingsConfigDict(env_prefix="FANAL_SERVE_", extra="forbid", frozen=True)

    # -- where it listens
    host: str = Field("127.0.0.1", description="address to listen on; beyond loopback keys are wanted, or --insecure")
    http_port: Port | None = Field(8000, description="REST: Open Inference Protocol v2 and TensorFlow Serving; 0: any free port")
    grpc_port: Port | None = Field(8001, description="gRPC: Open Inference Protocol v2; 0: any free port")
    metrics_port: Port | None = Field(8002, description="Prometheus metrics; 0: any free port")
    admin_port: Port | None = Field(None, description="load and unload models; 0: any free port (default: off)")

    # -- who may ask
    api_key_file: Path | None = Field(None, description="file of keys, one a line, that requests must bring")
    api_keys: SecretStr = Field(SecretStr(""), description="keys, separated by commas; only from the environment")
    admin_key_file: Path | None = Field(None, description="file of keys for the admin listener")
    admin_keys: SecretStr = Field(SecretStr(""), description="keys for the admin listener; only from the environment")
    insecure: bool = Field(False, description="answer others than this machine without keys")
    tls_cert: Path | None = Field(None, description="certificate chain (PEM); REST, gRPC and the others then speak TLS")
    tls_key: Path | None = Field(None, description="its private key (PEM)")
    tls_client_ca: Path | None = Field(None, description="authorities (PEM) that clients' certificates must come from")

    # -- models
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="name of the only model: the path is its file, or the folder of its versions")
    workers: int = Field(1, ge=1, le=256, description="processes for each version of a model; they share its weights")
    threads: int | None = Field(None, ge=1, le=256, description="threads of each worker (default: the processors but one, shared among workers)")
    concurrency: int | None = Field(None, ge=1, description="batches that run at once, over all models (default: the processors)")
    poll: float = Field(1.0, gt=0, description="seconds between looks at the repository")
    load_timeout: float = Field(600.0, gt=0, description="seconds that a model may take to load")

    # -- batches and queues
    max_batch: int = Field(32, ge=1, le=65536, description="rows of a batch at most")
    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], NoDecode] = Field((), description="sizes that batches are padded to, as 1,8,32 (default: powers of two)")
    batch_delay_ms: float = Field(0.0, ge=0, description="time that a batch which is not full waits for more")
    queue_size: int = Field(128, ge=1, description="requests that may wait for a model; more are refused with 429")
    queue_ms: float = Field(10_000.0, gt=0, description="time that a request may have to wait, as far as can be told; others are refused with 429")
    request_timeout: float = Field(60.0, gt=0, description="seconds until a request that names no deadline is given up with 504")
    execution_timeout: float = Field(120.0, gt=0, description="seconds that a batch may run before its worker is replaced")

    # -- limits of what is sent
    max_body: int = Field(64 << 20, ge=1, description="bytes of a request's body, also after decompression, and of a gRPC message")
    max_bodies: int = Field(1 << 30, ge=0, description="bytes of the bodies of all requests at once on a REST listener, also after decompression; more are refused with 503 (0: no limit)")
    max_header: int = Field(16 << 10, ge=1024, description="bytes of a request's line and headers")
    max_depth: int = Field(64, ge=4, le=512, description="how deep JSON may be nested")
    header_timeout: float = Field(10.0, gt=0, description="seconds that a client may take for a request's headers")
    body_timeout: float = Field(60.0, gt=0, description="seconds that a client may take for a request's body")
    keepalive_timeout: float = Field(75.0, gt=0, description="seconds that an idle connection stays open")
    max_connections: int = Field(4096, ge=1, description="connections at once on the REST listener")

    # -- the end, and what it says
    drain_timeout: float = Field(30.0, ge=0, description="seconds that requests may take to end after SIGTERM")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="how much is written to the log")
    access_log: bool = Field(False, description="a line in the log for each request")

    @field_validator("http_port", "grpc_port", "metrics_port", "admin_port", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value == "none" else value

    @field_validator("batch_sizes", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _safe(self) -> Settings:
        beyond = self.host not in LOOPBACK
        if beyond and not (self.insecure or self.api_key_file or self.api_keys.get_secret_value()):
            raise ValueError(
                message("serve", "anybody who reaches this machine could use the models", f"--host {self.host} without keys",
                        "keys", "--api-key-file FILE, or --insecure if that is meant")
            )  # fmt: skip
        if beyond and self.admin_port is not None and not (self.admin_key_file or self.admin_keys.get_secret_value()):
            raise ValueError(
                message("serve", "anybody who reaches this machine could load models", f"--host {self.host} with an admin port",
                        "keys for it", "--admin-key-file FILE")
            )  # fmt: skip
        if 0 < self.max_bodies < self.max_body:
            raise ValueError(
                message("serve", "a body could be larger than all together may be", f"max_body {self.max_body} and max_bodies {self.max_bodies}",
                        "--max-bodies of --max-body or more, or 0 for no limit")
            )  # fmt: skip
        if (self.tls_cert is None) != (self.tls_key is None) or (self.tls_client_ca and not self.tls_cert):
            raise ValueError(message("serve", "TLS is half set", None, "--tls-cert and --tls-key together"))
        return self

    def try_files(self) -> None:
        """ValueError where a file can't be used, here and now: those who will use them would not say which."""
        for name in ("api_key_file", "admin_key_file", "tls_cert", "tls_key", "tls_client_ca"):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise ValueError(message("serve", f"--{name.replace('_', '-')}: there is no such file", str(path)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        what = "--tls-cert with --tls-key"
        try:
            if self.tls_cert is not None:
                context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")  # a server can't be asked for one
            what = "--tls-client-ca"
            if self.tls_client_ca is not None:
                context.load_verify_locations(self.tls_client_ca)
        except OSError as why:
            raise ValueError(message("serve", f"{what} can't be used", why.strerror, "files in PEM, the key not encrypted")) from None


def misspelt(environment: Iterable[str]) -> list[str]:
    """Names in an environment that are nearly a setting's: what to say of each."""
    prefix = Settings.model_config["env_prefix"]
    known = [f"{prefix}{name.upper()}" for name in Settings.model_fields]
    found = []
    for name in environment:
        if not name.startswith(prefix) or name in known:
            continue
        # Kubernetes' own, where a service is called fanal-serve.
        if name.removeprefix(prefix).startswith(("SERVICE_", "PORT")):
            continue
        if close := nearest(name, known):
            found.append(message("serve", "the environment has no such setting", name, hint=close[0]))
    return found
