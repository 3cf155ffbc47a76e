"""Chromium without a screen, asked over its pipe what a page shows."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import require

FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run --hide-scrollbars"


class Page:
    """One page of a browser."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._from, self._number, self._session = to, answers, 0, {}
        self._waiting = b""

    def open(self, address: str) -> None:
        target = self.ask("Target.createTarget", url=address)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        self.ask("Emulation.setDeviceMetricsOverride", width=1250, height=1000, deviceScaleFactor=1, mobile=False)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            chunk = os.read(self._from, 65_536)
            assert chunk, "the browser ended"
            self._waiting += chunk
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def value(self, script: str) -> Any:
        """What an expression of JavaScript is on the page."""
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def until(self, script: str, seconds: float = 90) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, f"{script} is not true after {seconds} s: {self.text('main')[:500]}"
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page of a browser of its own while the block runs."""
    command = [require("chromium"), *FLAGS.split(), "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    (read, to), (answers, write) = os.pipe(), os.pipe()
    descriptors = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "chromium", *command]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(descriptors, pass_fds=(read, write), stdout=quiet, stderr=quiet) as run:
        os.close(read)
        os.close(write)
        try:
            yield Page(to, answers)
        finally:
            run.terminate()
            run.wait(30)
            os.close(to)
            os.close(answers)
