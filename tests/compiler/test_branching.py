"""Random programs that ask for values all the time do the same eagerly and compiled, call after call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fanal
from tests.compiler.branching import Branching


def plain(x: Any) -> Any:
    """What can be seen of a value: bits, but for the sign of what is no number."""
    if isinstance(x, fanal.Tensor):
        array = np.ascontiguousarray(x.detach().numpy())
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
        return str(x.dtype), tuple(x.shape), array.tobytes(), x.requires_grad
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [plain(v) for v in x]
    return x.hex() if isinstance(x, float) else x


def trail(seed: int, calls: int, compiled: bool) -> list[Any]:
    fanal.manual_seed(0)
    program = Branching(seed)
    function = fanal.compile(program.function) if compiled else program.function
    found = []
    for i in range(calls):
        try:
            result = plain(function(*program.inputs(i)))
        except ValueError as error:
            result = str(error)
        found.append((result, plain(program.seen())))
    return found


def compare(seed: int, calls: int) -> None:
    expected, found = trail(seed, calls, False), trail(seed, calls, True)
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert a == b, f"call {i} differs"


@pytest.mark.parametrize("seed", range(16))
def test_calls_on_all_ways(seed: int) -> None:
    compare(seed, 45)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_calls_on_all_ways_many(seed: int) -> None:
    compare(seed, 70)
