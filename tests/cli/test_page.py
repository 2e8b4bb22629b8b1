"""`fanal inspect --html`: one page that needs nothing else, whatever names the file has."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import time

import pytest

import fanal
from fanal.cli import main
from fanal.export import export
from fanal.export.page import page
from fanal.export.page.placing import placed
from tests.cli.programs import deep, recurrent, small


def written(tmp_path, path, capsys):
    out = tmp_path / "page.html"
    assert main(["inspect", str(path), "--html", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    return out.read_text()


def boxes_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def first_of(text):
    return int(re.search(r'data-first="(\d+)"', text)[1])


def test_the_page_is_whole_by_itself(tmp_path, capsys):
    text = written(tmp_path, small(tmp_path, train=True), capsys)
    assert not re.search(r"(src|href|url|import)\s*[=(]\s*['\"]?\s*(https?:|//|\w+\.(js|css))", text)
    assert text.count("<!doctype html>") == 1 and text.rstrip().endswith("</html>")
    data = boxes_of(text)
    assert len(data) == len(re.findall(r'<svg class="picture"', text))
    for number, picture in enumerate(data):
        svg = re.search(rf'<svg class="picture" data-picture="{number}".*?</svg>', text, re.S)[0]
        assert len(re.findall(r'data-box="\d+"', svg)) == len(picture["boxes"])


def test_calls_have_lines_shapes_and_tensors(tmp_path, capsys):
    text = written(tmp_path, small(tmp_path), capsys)
    boxes = boxes_of(text)[first_of(text)]["boxes"]
    assert [b["title"] for b in boxes] == ["x", "conv2d", "batch_norm_eval", "relu", "max_pool", "linear", "logits"]
    facts = dict(boxes[1]["facts"])
    assert re.match(r"programs.py:\d+ in forward\(\)", facts["line"][0])
    assert facts["tensors"] == ["conv.weight: float32[4, 1, 3, 3]", "conv.bias: float32[4]"]
    assert facts["multiply-adds"] == ["2,304"]
    assert any("conv(x, conv.weight" in line for line in facts["operations"])


def test_loops_can_be_opened(tmp_path, capsys):
    text = written(tmp_path, recurrent(tmp_path), capsys)
    data = boxes_of(text)
    opened = [to for b in data[first_of(text)]["boxes"] for name, to in b["opens"] if name == "scan: body"]
    titles = [b["title"] for b in data[opened[0]]["boxes"]]
    assert {"dot", "sigmoid", "tanh", "results"} <= set(titles)
    assert {"from step to step", "of this step"} <= {b["detail"] for b in data[opened[0]]["boxes"]}


def test_a_thousand_operations_are_shown_as_parts(tmp_path, capsys):
    path = deep(tmp_path, 20)
    begin = time.perf_counter()
    text = written(tmp_path, path, capsys)
    assert time.perf_counter() - begin < 20
    data = boxes_of(text)
    first = data[first_of(text)]
    assert first["title"] == "predict: parts" and len(first["boxes"]) <= 60
    assert sum("layer_norm" in b["detail"] or "linear" in b["detail"] for b in first["boxes"]) >= 20
    assert len(text) < 6_000_000


def test_names_in_a_file_are_only_text():
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    program = export(
        lambda x: x + 1, (fanal.zeros(3),), name=evil, card={"author": evil, "description": evil}, output_names=["y"]
    )
    text = page(program)
    assert "<script>alert" not in text and "<img" not in text
    assert text.count("<script") == 2 and text.count("</script>") == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_a_browser_shows_it_without_errors(tmp_path, capsys):
    text = written(tmp_path, small(tmp_path, train=True), capsys)
    watch = "<script>addEventListener('error', e => document.title = 'error: ' + e.message)</script></head>"
    click = (
        "<script>const box = document.querySelector('.picture.shown .box.product');"
        "box.dispatchEvent(new MouseEvent('click', {bubbles: true}));"
        "document.querySelector('.panel button:not(.close)').click();"
        "document.querySelector('.bar input').value = 'conv'; </script></body>"
    )
    path = tmp_path / "shown.html"
    path.write_text(text.replace("</head>", watch, 1).replace("</body>", click, 1))
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>Small</title>" in dom
    assert len(re.findall(r'class="picture shown"', dom)) == 2  # one of each function
    assert re.search(r'class="path"><a>predict: \w+</a> › <b>conv2d conv</b>', dom)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_do_not_overlap_and_lines_go_down(seed):
    rng = random.Random(seed)
    n = 60
    sizes = [(rng.uniform(60, 200), rng.uniform(30, 60)) for _ in range(n)]
    edges = [(a, b) for b in range(1, n) for a in {rng.randrange(max(0, b - 12), b) for _ in range(rng.randrange(1, 4))}]
    found = placed(sizes, edges)
    corners = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(found.centres, sizes, strict=True)]
    for i, a in enumerate(corners):
        assert a[0] >= 0 and a[1] >= 0 and a[2] <= found.width and a[3] <= found.height
        for b in corners[:i]:
            assert a[2] <= b[0] + 1e-6 or b[2] <= a[0] + 1e-6 or a[3] <= b[1] + 1e-6 or b[3] <= a[1] + 1e-6
    for (a, b), points in zip(edges, found.lines, strict=True):
        ys = [y for _, y in points]
        assert ys == sorted(ys)
        assert points[0] == pytest.approx((found.centres[a][0], corners[a][3]))
        assert points[-1] == pytest.approx((found.centres[b][0], corners[b][1]))


def test_a_drawing_is_the_same_each_time():
    sizes, edges = [(80.0, 40.0)] * 5, [(0, 1), (0, 2), (1, 3), (2, 3), (0, 4), (3, 4)]
    assert placed(sizes, edges) == placed(sizes, edges)
    assert placed([], []).lines == []
