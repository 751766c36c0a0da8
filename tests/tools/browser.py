"""A headless Chromium, driven over its DevTools: what a page logs, what it asks of the network, how it is laid out."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
START_S, ANSWER_S = 60, 60


def find_chromium() -> str | None:
    """The browser's program, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab: commands are answered in turn, and events are kept."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.number, self.events = socket, 0, []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=ANSWER_S))
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, path: Path, width: int, height: int = 900) -> None:
        """Open a file in a window of that width, and wait until it is loaded."""
        mobile = width < 600
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.events.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        stop = time.monotonic() + ANSWER_S
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < stop, "the page was not loaded in time"
            self.events.append(json.loads(self.socket.recv(timeout=ANSWER_S)))
        self.evaluate("document.fonts.ready.then(() => 1)")

    def evaluate(self, script: str) -> Any:
        """The value of an expression, by JSON."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def errors(self) -> list[dict[str, Any]]:
        """What was logged or thrown."""
        told = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [event for event in self.events if event.get("method") in told]

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def picture(self, path: Path, clip: tuple[float, float, float, float] | None = None) -> None:
        """A PNG of the whole page, or of a part of it (x, y, width, height)."""
        more: dict[str, Any] = {}
        if clip is not None:
            more["clip"] = {**dict(zip(("x", "y", "width", "height"), clip, strict=True)), "scale": 1}
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, **more)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium(program: str) -> Iterator[Tab]:
    """A browser with a profile of its own, gone afterwards."""
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], **quiet) as process:
            try:
                port = devtools_port(Path(profile), process)
                import urllib.request

                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=ANSWER_S) as answer:
                    pages = json.load(answer)
                address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
                with connect(address, max_size=None, proxy=None) as socket:
                    yield Tab(socket)
            finally:
                process.terminate()
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()


def devtools_port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that the browser wrote down when it was ready."""
    path, stop = profile / "DevToolsActivePort", time.monotonic() + START_S
    while time.monotonic() < stop:
        if path.is_file() and (text := path.read_text().split()):
            return int(text[0])
        assert process.poll() is None, "the browser ended before it was ready"
        time.sleep(0.1)
    raise AssertionError("the browser was not ready in time")
