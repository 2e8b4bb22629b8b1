"""`fanal op`: cards of operations, with the files and lines that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fanal
from fanal.cli import main
from fanal.ops.primitive import TABLE

ROOT = Path(fanal.__file__).parents[1]


def card(capsys, *arguments):
    assert main(["op", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", TABLE)
def test_every_primitive_has_a_card_whose_places_exist(name, capsys):
    text = card(capsys, name)
    assert text.splitlines()[0] == name
    assert re.search(r"^  native +(fanal/|its body|numpy)", text, re.M) or name == "missing", text
    assert re.search(r"^  ONNX +(fanal/|its body|no: )", text, re.M)
    for file, line in re.findall(r"(fanal/\S+\.py):(\d+)", text):
        assert len((ROOT / file).read_text().splitlines()) >= int(line)


def test_a_card_says_what_it_means(capsys):
    text = card(capsys, "conv")
    assert "n-dimensional convolution" in text
    assert re.search(r"^  attributes +stride, padding, dilation, groups$", text, re.M)
    assert re.search(r"^  transpose +fanal/ops/conv.py:\d+$", text, re.M)
    assert re.search(r"^  native +fanal/backends/native/lower/conv.py:\d+$", text, re.M)
    assert re.search(r"^  error +at most 2 units in the last place", card(capsys, "tanh"), re.M)


def test_functions_over_primitives_have_one_too(capsys):
    text = card(capsys, "softmax")
    assert text.startswith("fanal.softmax(input") and "Σ" in text
    assert re.search(r"body +fanal/ops/\w+.py:\d+", text)
    assert "fanal.nn.functional.cross_entropy(" in card(capsys, "cross_entropy")


def test_the_list(capsys):
    text = card(capsys)
    assert text.startswith(f"{len(TABLE)} primitives")
    assert set(TABLE) <= set(text.split())
