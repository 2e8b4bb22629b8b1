"""A model's manifest, `model.toml`: which versions answer, under which labels, how batches and queues are.

    [versions]
    policy = "latest:2"        # or "all", or [1, 3]; "latest:1" if not given

    [labels]
    stable = 1

    [batch]
    max = 64
    sizes = [1, 8, 64]
    delay_ms = 2

    [queue]
    size = 100
    ms = 500

    [workers]
    count = 2
    threads = 1

What is not said is as in the server's settings.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fanal.core.errors import message

FILE = "model.toml"
_STRICT = ConfigDict(extra="forbid", frozen=True)
Number = Annotated[int, Field(ge=1)]


class Versions(BaseModel):
    model_config = _STRICT
    policy: str | tuple[Number, ...] = "latest:1"

    @field_validator("policy")
    @classmethod
    def _known(cls, value: object) -> object:
        if isinstance(value, str) and value != "all" and not re.fullmatch(r"latest:[1-9]\d{0,5}", value):
            raise ValueError('expected "latest:N", "all" or a list of versions')
        return value

    def chosen(self, there: Iterable[int]) -> list[int]:
        """The versions that are to answer, of those that are there."""
        numbers = sorted(there)
        if self.policy == "all":
            return numbers
        if isinstance(self.policy, str):
            return numbers[-int(self.policy.removeprefix("latest:")) :]
        return [n for n in numbers if n in self.policy]


class Batch(BaseModel):
    model_config = _STRICT
    max: Annotated[int, Field(ge=1, le=65536)] | None = None
    sizes: tuple[Number, ...] | None = None
    delay_ms: Annotated[float, Field(ge=0)] | None = None


class Queue(BaseModel):
    model_config = _STRICT
    size: Number | None = None
    ms: Annotated[float, Field(gt=0)] | None = None


class Workers(BaseModel):
    model_config = _STRICT
    count: Annotated[int, Field(ge=1, le=256)] | None = None
    threads: Annotated[int, Field(ge=1, le=256)] | None = None


class Manifest(BaseModel):
    """What a manifest says."""

    model_config = _STRICT
    versions: Versions = Versions()
    labels: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")], Number] = {}
    batch: Batch = Batch()
    queue: Queue = Queue()
    workers: Workers = Workers()


def manifest_from(text: str, model: str) -> Manifest:
    """The manifest that a text is; ValueError that names the entry where it is none."""
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as why:
        raise ValueError(message("serve", f"the manifest of {model!r} is no TOML", str(why))) from None
    except ValidationError as why:
        first = why.errors()[0]
        place = ".".join(map(str, first["loc"]))
        said = "there is no such entry" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ValueError(message("serve", f"{place} in the manifest of {model!r}: {said}", repr(first["input"]))) from None
