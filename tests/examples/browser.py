"""A headless Chromium, driven over the DevTools protocol: pages that are read, typed into and seen.

Source: Chrome DevTools Protocol, "Target", "Page", "Runtime", "Input", "Emulation", 2026-11.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

SWITCHES = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--password-store=basic",
)

ANSWER_SECONDS = 60
ENDING_SECONDS = 10

_WAIT = """
new Promise((resolve, reject) => {
  const until = performance.now() + %d;
  const look = () => {
    const found = (() => { try { return %s } catch { return false } })();
    if (found) resolve(found);
    else if (performance.now() > until) reject(new Error("it did not come"));
    else setTimeout(look, 10);
  };
  look();
})
"""


class PageError(AssertionError):
    """A script in the page has failed, or what was waited for did not come."""


class Size(NamedTuple):
    """Of a window, in CSS pixels."""

    width: int
    height: int


WIDE, NARROW = Size(1_000, 800), Size(360, 640)


def find_chromium() -> str | None:
    """Return where it is, None without one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextlib.contextmanager
def open_page(program: str, *, size: Size = WIDE) -> Iterator[Page]:
    """Start a browser with an empty profile, and open one page; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # which refuses root
        # Its many processes leave the CPU to tests beside it that count milliseconds.
        gently = ["nice", "-n", "15"] if shutil.which("nice") else []
        page = [f"--user-data-dir={profile}", "about:blank"]
        command = [*gently, program, *SWITCHES, *sandbox, *page]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "HOME": profile},
        )
        try:
            with _connected(process) as protocol:
                try:
                    yield Page(protocol, size)
                finally:
                    protocol.call("Browser.close")
        finally:
            _end(process)


@contextlib.contextmanager
def _connected(process: subprocess.Popen[str]) -> Iterator[_Protocol]:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        _, found, url = line.partition("DevTools listening on ")
        if found:
            with connect(url.strip(), max_size=None, proxy=None) as connection:
                yield _Protocol(connection)
            return
    message = f"Chromium did not start: {''.join(said)}"
    raise PageError(message)


def _end(process: subprocess.Popen[str]) -> None:
    """Wait for it, and take what is left of its own session with it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDING_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


class _Protocol:
    """Calls and their answers; what happens meanwhile is kept."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._numbers = count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        call: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            call["sessionId"] = session
        self._connection.send(json.dumps(call))
        while True:
            message = json.loads(self._connection.recv(timeout=ANSWER_SECONDS))
            if message.get("id") == number:
                break
            self.events.append(message)
        if "error" in message:
            raise PageError(f"{method}: {message['error']}")
        answer: dict[str, Any] = message["result"]
        return answer


class Page:
    """One page."""

    def __init__(self, protocol: _Protocol, size: Size) -> None:
        self._protocol = protocol
        self._size = size
        target = protocol.call("Target.createTarget", url="about:blank")["targetId"]
        attached = protocol.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self.resize(size)

    def another(self) -> Page:
        """Open a further tab, of the same user."""
        return Page(self._protocol, self._size)

    def show(self) -> None:
        """Bring it before the other tabs."""
        self._call("Page.bringToFront")

    def before_load(self, script: str) -> None:
        """Run a script in all that is loaded from now on, before its own."""
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url: str) -> None:
        """Load an address, whatever of it there is."""
        failed = self._call("Page.navigate", url=url).get("errorText")
        if failed:
            raise PageError(f"{url}: {failed}")
        self.wait_for("document.readyState === 'complete'")

    def reload(self) -> None:
        self.evaluate("window.beforeReload = true")
        self._call("Page.reload")
        self.wait_for("!window.beforeReload && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return what JavaScript gives, as JSON does; a promise is waited for."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, seconds: float = 20) -> Any:
        """Return what it gives as soon as that is true."""
        while True:
            try:
                return self.evaluate(_WAIT % (seconds * 1_000, expression))
            except PageError as error:
                if "context was destroyed" in str(error) or "navigated" in str(error):
                    continue  # by a reload: look in the new page
                if "it did not come" in str(error):
                    shown = self.evaluate("document.body.innerText")
                    raise PageError(f"{expression} did not come true. The page:\n{shown}") from None
                raise

    def texts(self, selector: str) -> list[str]:
        """Return the text of all such elements."""
        texts: list[str] = self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.innerText)"
        )
        return texts

    def insert(self, text: str) -> None:
        """Type into what has the focus."""
        self._call("Input.insertText", text=text)

    def press(self, key: str, *, modifiers: int = 0) -> None:
        """Press one of the keys that have a name; modifiers are 1 Alt, 2 Ctrl, 8 Shift."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}
        named = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": modifiers}
        text = {"Enter": "\r", " ": " "}.get(key)
        self._call(
            "Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {})
        )
        self._call("Input.dispatchKeyEvent", type="keyUp", **named)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        element = f"document.querySelector({json.dumps(selector)})"
        box = self.evaluate(f"{element}.getBoundingClientRect().toJSON()")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def resize(self, size: Size) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=size.width,
            height=size.height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, **features: str) -> None:
        """Set what the user prefers: `color_scheme="dark"`, `reduced_motion="reduce"`."""
        chosen = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in features.items()
        ]
        self._call("Emulation.setEmulatedMedia", features=chosen)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(
            base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        )

    def names(self) -> set[tuple[str, str]]:
        """Return the role and the name of all that a screen reader is told of."""
        self._call("Accessibility.enable")
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        }

    def complaints(self) -> list[str]:
        """Return what scripts have failed with, and what the browser has logged as an error."""
        self.evaluate("1")  # what has happened until now has come then
        found = []
        for event in self._protocol.events:
            if event.get("sessionId") != self._session:
                continue
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"])
        return found

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._protocol.call(method, self._session, **params)
