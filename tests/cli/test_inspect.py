"""`fanal inspect`: what a user reads, what a script gets, and what becomes of mistakes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import pytest

import fanal
from fanal.cli import main
from fanal.cli.console import Console
from fanal.export import Dim, export, save
from tests.cli.programs import recurrent, small


def said(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert err == ""
    assert code == 0
    return out


def test_a_program_is_described(tmp_path, capsys):
    path = small(tmp_path)
    text = said(capsys, "inspect", path)
    lines = text.splitlines()
    assert lines[0] == "Small"
    assert f"{path} (" in text and "format fanal-program 1)" in text
    for line in (
        "licence      CC-BY-4.0", "author       A. Author", "metrics      accuracy 0.9",
        "description  A small one.",
        "dimensions   batch: 1 to 32", "predict(x)",
        "  in   x       float32[batch, 1, 8, 8]", "  out  logits  float32[batch, 3]        labels: a, b, c (3)",
    ):  # fmt: skip
        assert line in lines, line
    # 4·64·9 of the convolution, 3·64 of the layer
    assert "  work    2,496 multiply-adds at batch=1" in lines
    assert re.search(r"^  conv +conv +1 +2,304$", text, re.M)
    assert re.search(r"^  out.weight +float32\[3, 64\] +192 +768 B$", text, re.M)


def test_work_is_counted_for_other_sizes(tmp_path, capsys):
    path = small(tmp_path)
    assert "49,920 multiply-adds at batch=20" in said(capsys, "inspect", path, "--at", "batch=20")


def test_loops_count_as_often_as_they_run(tmp_path, capsys):
    found = json.loads(said(capsys, "inspect", recurrent(tmp_path), "--json", "--at", "batch=1,time=10"))
    counts = {o["name"]: o for o in found["functions"][0]["operations"]}
    assert counts["scan"]["multiply_adds"] == 10 * 8 * 32
    assert found["functions"][0]["multiply_adds"] == 10 * 8 * 32 + 10 * 4 * 32


def test_the_graph_has_names_and_lines(tmp_path, capsys):
    text = said(capsys, "inspect", small(tmp_path), "--graph")
    assert "predict(x: float32[batch, 1, 8, 8])" in text
    assert re.search(r"^  # programs.py:\d+  conv2d$", text, re.M)
    assert re.search(r"^  %\d+: float32\[batch, 4, 8, 8\] = conv\(x, conv.weight, stride=\(1, 1\),", text, re.M)
    assert re.search(r"^  return logits = %\d+$", text, re.M)


def test_graphs_inside_of_operations_follow_them(tmp_path, capsys):
    text = said(capsys, "inspect", recurrent(tmp_path), "--graph")
    assert re.search(r"scan\(.*length=time, reverse=False\)\n    body\(%\d+: float32\[32, 8\]", text)
    assert re.search(r"^      return %\d+, %\d+, %\d+$", text, re.M)


def test_relations_between_sizes_are_shown(tmp_path, capsys):
    path = tmp_path / "sum.fanal"
    save(
        export(
            lambda x, y: x + y.reshape(x.shape), (fanal.zeros(6, 2), fanal.zeros(12)),
            dynamic_shapes={"x": {0: Dim("rows")}, "y": {0: Dim("both")}},
        ),
        path,
    )  # fmt: skip
    text = said(capsys, "inspect", path)
    assert re.search(r"^relations +(both == 2\*rows|both - 2\*rows == 0|2\*rows - both == 0)$", text, re.M), text


def test_a_training_step_says_what_it_writes(tmp_path, capsys):
    path = small(tmp_path, train=True)
    text = said(capsys, "inspect", path, "--signature", "train")
    assert "predict(" not in text and "train(x, y)" in text
    assert re.search(r"writes +\d+ tensors", text)
    assert re.search(r"out.weight +float32\[3, 64\] +192 +768 B +train", text)


def test_json_is_all_of_it(tmp_path, capsys):
    path = small(tmp_path, train=True)
    found = json.loads(said(capsys, "inspect", path, "--json"))
    assert found["name"] == "Small" and found["card"]["licence"] == "CC-BY-4.0"
    assert found["file_bytes"] == path.stat().st_size
    assert found["dims"] == [{"name": "batch", "min": 1, "max": 32}]
    assert [f["name"] for f in found["functions"]] == ["predict", "train"]
    assert found["functions"][0]["outputs"] == [
        {"name": "logits", "dtype": "float32", "shape": ["batch", 3], "labels": ["a", "b", "c"]}
    ]
    assert found["state_bytes"] == sum(s["nbytes"] for s in found["state"])


@pytest.mark.parametrize(
    "arguments, why",
    [
        (["inspect", "nowhere.fanal"], r"nowhere.fanal: No such file or directory"),
        (["inspect", "FILE", "--signature", "predct"], r"\[inspect\] the program has no such function: got 'predct'; expected predict. Try: predict."),
        (["inspect", "FILE", "--at", "btch=3"], r"\[inspect\] the program has no such dimension: got 'btch'; expected batch."),
        (["inspect", "FILE", "--at", "batch"], r"\[inspect\] no size of a dimension: got 'batch'; expected NAME=NUMBER."),
        (["inspect", "FILE", "--at", "batch=99"], r"\[inspect\] 'batch' is out of its range: got 99; expected 1 to 32."),
        (["inspect", "TEXT"], r"\[load\] .* is damaged or no safetensors file"),
        (["op", "cnv"], r"\[op\] no operation of that name: got 'cnv'. Try: fanal op conv"),
    ],
)
def test_mistakes_are_one_line_and_no_traceback(arguments, why, tmp_path, capsys):
    path = small(tmp_path)
    (tmp_path / "text").write_text("no program, but long enough for a header")
    named = {"FILE": str(path), "TEXT": str(tmp_path / "text")}
    code = main([named.get(a, a) for a in arguments])
    out, err = capsys.readouterr()
    assert code == 1 and out == ""
    assert re.match(rf"fanal: {why}", err), err
    assert err.count("\n") == 1


def test_where_an_error_came_up_is_told_on_request(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["--traceback", "inspect", str(tmp_path / "nowhere")])


def test_names_in_a_file_do_not_steer_the_terminal(tmp_path, capsys):
    path = tmp_path / "evil.fanal"
    save(export(lambda x: x + 1, (fanal.zeros(3),), name="a\x1b[2Jb", card={"author": "\x1b]0;title\x07"}), path)
    text = said(capsys, "inspect", path)
    assert "\x1b" not in text and "\x07" not in text and "a\ufffd[2Jb" in text


def test_no_such_arguments(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["inspect"])
    assert stop.value.code == 2
    assert "required: FILE" in capsys.readouterr().err


def test_help_names_the_commands(capsys):
    assert main([]) == 2
    text = capsys.readouterr().out
    for name in ("inspect", "op", "build", "onnx"):
        assert re.search(rf"^    {name} +\w", text, re.M)


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    path = small(tmp_path)
    command = [sys.executable, "-m", "fanal.cli", "inspect", str(path), "--graph"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_tables_on_a_terminal(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    console = Console(out)
    console.table(("name", "bytes"), [("[bold]a", "1"), ("b", "22")], right=(1,))
    console.pairs([("key", "[red]value")])
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert "[bold]a" in text and "[red]value" in text and "22" in text
