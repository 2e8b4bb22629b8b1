"""The page for image models, in a headless Chromium: it sees what is drawn, answers, learns and forgets."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fanal
import fanal.edge
import fanal.nn as nn
from fanal.export import export
from tests.edge.browser import CHROMIUM, Browser
from tests.edge.test_web import images

READY = "document.documentElement?.dataset.ready"
PIXELS = """(() => {
  const {width, height} = document.querySelector("#seen");
  const data = document.querySelector("#seen").getContext("2d").getImageData(0, 0, width, height).data;
  return Array.from({length: width * height}, (_, i) => data[4 * i]);
})()"""
SHARES = 'Array.from(document.querySelectorAll("#bars .bar i"), i => Number(i.style.transform.slice(7, -1)))'
CIRCLE = [(0.5 + 0.15 * math.cos(a / 4), 0.4 + 0.25 * math.sin(a / 4)) for a in range(26)]

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@needs_browser
def test_page_answers_and_learns(tmp_path):
    program = images()
    fanal.edge.build(program, tmp_path, "wasm32")
    text = (tmp_path / "digits.html").read_text()
    assert "http://" not in text and "https://" not in text  # nothing comes from elsewhere
    with Browser() as browser:
        browser.open(tmp_path / "digits.html", READY)
        assert browser.value('document.querySelector("#description").textContent') == "digits </script> & more"
        assert browser.value('document.querySelector("#label").textContent') == "?"
        browser.drag("#paper", CIRCLE)
        browser.wait('document.querySelector("#label").textContent !== "?"')
        pixels = np.array(browser.value(PIXELS), np.float32).reshape(1, 1, 8, 8) / 255
        assert pixels[0, 0, 0].max() > 0.5 and pixels[0, 0, -1].max() > 0.5  # it fills the frame
        assert pixels[0, 0, 3:5, 3:5].max() < 0.2  # and is a circle
        want = program.run({"image": fanal.tensor(pixels)}, "predict")["shares"].numpy()[0]
        # What is shown of pixels is rounded to a byte.
        np.testing.assert_allclose(browser.value(SHARES), want, atol=0.01)
        wrong = int(np.argmin(want))
        browser.click(f"#choices button:nth-child({wrong + 1})")
        browser.wait('!document.querySelector("#forget").disabled')
        learned = browser.value(SHARES)
        assert int(np.argmax(learned)) == wrong and learned[wrong] > 0.8
        assert browser.value('document.querySelector("#label").textContent') == f"“{wrong}”"
        browser.click("#forget")
        np.testing.assert_allclose(browser.value(SHARES), want, atol=0.01)
        browser.click("#clear")
        browser.wait('document.querySelector("#label").textContent === "?"')
        assert not browser.errors()
        picture = tmp_path / "page.png"
        browser.screenshot(picture)
        assert picture.read_bytes()[:4] == b"\x89PNG"


@needs_browser
def test_colours(tmp_path):
    """Three channels are a coloured drawing on white; many labels show the likeliest."""
    model = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3, 40, bias=False))
    with fanal.no_grad():
        model[2].weight.copy_(fanal.tensor([[float(i == 2), 0.0, -float(i == 2)] for i in range(40)]) * 50)
    fanal.edge.build(export(model, (fanal.rand(1, 3, 16, 16),), name="colours"), tmp_path, "wasm32")
    with Browser() as browser:
        browser.open(tmp_path / "colours.html", READY)
        assert browser.value('document.querySelector("#teaching").hidden')
        browser.value('document.querySelector("#color").value = "#ff0000"')
        browser.drag("#paper", [(0.2, 0.3), (0.8, 0.3), (0.8, 0.6), (0.2, 0.6)])
        browser.wait('document.querySelector("#label").textContent === "2"')
        assert browser.value('document.querySelectorAll("#bars li").length') == 10
        assert not browser.errors()


def test_no_page_without_images(tmp_path):
    fanal.edge.build(export(nn.Linear(4, 3), (fanal.rand(2, 4),), name="plain"), tmp_path, "wasm32")
    assert (tmp_path / "plain.mjs").exists() and not (tmp_path / "plain.html").exists()
