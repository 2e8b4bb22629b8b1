"""A headless Chromium, driven through its own pipe: pages are opened, clicked, drawn on and looked at."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

CHROMIUM = next((c for c in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if c), None)
_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--remote-debugging-pipe", "--hide-scrollbars",
]  # fmt: skip


class Browser:
    """One page of one browser; to be used in a `with`."""

    def __init__(self, width: int = 1000, height: int = 900, dark: bool = False):
        assert CHROMIUM is not None
        self.folder = tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True)
        give, self._out = os.pipe()
        self._in, take = os.pipe()
        # Out of the way of 3 and 4, which the browser reads and writes.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (give, take)]
        os.close(give)
        os.close(take)
        give, take = high
        command = [CHROMIUM, *_OPTIONS, f"--user-data-dir={self.folder.name}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{give} 4>&{take}', "bash", *command],
            pass_fds=(give, take), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(give)
        os.close(take)
        self._number, self._rest, self.messages = 0, b"", []
        target = self._send("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self._send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.call("Runtime.enable")
        self.call("Page.enable")
        if dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            self.call("Emulation.setEmulatedMedia", {"features": features})
        self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)
        self.folder.cleanup()

    def call(self, method: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """One command of the page."""
        return self._send(method, given or {}, self.session)

    def open(self, path: Path, ready: str) -> None:
        """Go to a file and wait until an expression is true there."""
        self.call("Page.navigate", {"url": path.absolute().as_uri()})
        self.wait(ready)

    def wait(self, expression: str, seconds: float = 30) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{expression} did not come true: {self.errors()}"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What an expression is (a promise: what it comes to)."""
        found = self.call(
            "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def errors(self) -> list[Any]:
        """Exceptions that nobody caught."""
        return [m["params"] for m in self.messages if m.get("method") == "Runtime.exceptionThrown"]

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        box = self._box(selector)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def drag(self, selector: str, points: list[tuple[float, float]]) -> None:
        """Draw a line over an element; points go from 0 to 1."""
        box = self._box(selector)
        places = [(box["x"] + px * box["width"], box["y"] + py * box["height"]) for px, py in points]
        self.mouse("mousePressed", *places[0])
        for x, y in places[1:]:
            self.mouse("mouseMoved", x, y)
        self.mouse("mouseReleased", *places[-1])

    def _box(self, selector: str) -> Any:
        found = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'nearest'}); return e.getBoundingClientRect().toJSON(); })()"
        )
        return found

    def mouse(self, kind: str, x: float, y: float) -> None:
        self.call(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1},
        )

    def screenshot(self, path: Path) -> None:
        """A picture of the page."""
        found = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(found["data"]))

    def _send(self, method: str, given: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.messages.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], 60)
            assert ready, "the browser does not answer"
            found = os.read(self._in, 1 << 20)
            assert found, "the browser has ended"
            self._rest += found
        text, self._rest = self._rest.split(b"\0", 1)
        return json.loads(text)
