"""Wrong calls: PyTorch's type of error, and a message that says what happened in the one form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import fanal
from tests.namespace.cases.mistakes import CASES
from tests.namespace.runner import run
from tests.namespace.test_against_torch import LIBRARY

TYPES = json.loads((Path(__file__).parent / "golden" / "mistakes.json").read_text())


@pytest.mark.parametrize("text", list(CASES))
def test_mistake(text: str) -> None:
    with pytest.raises(Exception) as caught:
        run(text, LIBRARY, np.float64, 1)
    assert type(caught.value).__name__ == TYPES[text], caught.value
    said = str(caught.value)
    assert CASES[text] in said
    if CASES[text]:
        assert re.match(r"\[\w+\] ", said)


def test_devices_say_what_exists() -> None:
    for call in (
        lambda: fanal.zeros(2, device="cuda"), lambda: fanal.zeros(2).cuda(),
        lambda: fanal.zeros(2).to("mps"), lambda: fanal.cuda.synchronize(),
        lambda: fanal.set_default_device("cuda"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="'cpu', the only device that exists today"):
            call()


def test_names_that_are_missing_say_why() -> None:
    with pytest.raises(AttributeError, match="no support for complex numbers"):
        fanal.view_as_complex
    with pytest.raises(AttributeError, match="Nearest: .*cumsum"):
        fanal.cumsun
