"""Chromium without a window: pages are opened, looked at, and worked by keys as people press them.

It is driven through its debugging pipe, so that keys go through the browser itself: a script in the
page can only pretend that they do.
"""

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or not hasattr(os, "posix_spawn"), reason="chromium is not installed"
)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
DESKTOP, PHONE = (1280, 900), (390, 844)
"""Sizes of windows in pixels."""
LIMIT = 120.0
"""Seconds that an answer may take."""
CLOSING = 20.0
"""Seconds that a browser may take to end."""
CODES = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}
"""Of keys that aren't characters, as browsers number them."""
FREE = 10
"""The first descriptor that the pipe's two ends may have here: the browser's are 3 and 4."""

LOOKS = Path(__file__).with_name("looks.js").read_text("utf-8")


class Page:
    """A page in a browser."""

    def __init__(self, sent: int, answers: int) -> None:
        self.sent, self.answers = sent, answers
        self.rest, self.number = b"", 0
        self.session: dict[str, str] = {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        made = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": made["sessionId"]}
        self.ask("Page.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers to a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **self.session}
        os.write(self.sent, json.dumps(message).encode() + b"\0")
        answer = self._wait("id", self.number)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _wait(self, key: str, value: object) -> dict[str, Any]:
        until = time.monotonic() + LIMIT
        while True:
            while b"\0" not in self.rest:
                left = max(0.0, until - time.monotonic())
                assert select.select([self.answers], [], [], left)[0], "the browser does not answer"
                more = os.read(self.answers, 1 << 20)
                assert more, "the browser has ended"
                self.rest += more
            line, _, self.rest = self.rest.partition(b"\0")
            message: dict[str, Any] = json.loads(line)
            if message.get(key) == value:
                return message

    def open(self, file: Path, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """Open a file in a window of a size, with a colour scheme."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.ask("Emulation.setDeviceMetricsOverride", mobile=size == PHONE, **metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])
        self.ask("Page.navigate", url=file.resolve().as_uri())
        self._wait("method", "Page.loadEventFired")

    def told(self, script: str) -> Any:
        """Return what a script in the page gives."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.ask("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            number = CODES.get(key, ord(key[0].upper()))
            given = {"key": key, "windowsVirtualKeyCode": number, "code": key}
            down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
            self.ask("Input.dispatchKeyEvent", **down, **given)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **given)

    def focus(self, element: str) -> None:
        """Give an element, as a script names it, the keyboard."""
        self.told(f"{element}.focus()")

    def faults(self, file: Path) -> dict[str, list[str]]:
        """Return what is wrong with how a page looks in a window and on a phone, light and dark:
        text beyond the window's edge, text of low contrast, and text cut at a figure's edge.
        """
        found: dict[str, list[str]] = {}
        for size, scheme in itertools.product((DESKTOP, PHONE), ("light", "dark")):
            self.open(file, size, scheme)
            self.told(LOOKS)
            for kind, each in self.told(f"faults({size[0]})").items():
                if each:
                    found[f"{kind}, {size[0]} pixels, {scheme}"] = each
        return found

    def unreached(self, most: int = 3000) -> dict[str, list[str]]:
        """Press Tab until the page has been gone through; return the controls that it missed, those
        that show no ring, and those without a name.
        """
        self.told(LOOKS)
        for _ in range(most):
            self.press("Tab")
            if self.told("document.activeElement === document.body"):
                break
        return {kind: each for kind, each in self.told("unreached()").items() if each}


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Yield an empty page of a browser that keeps its files in a folder."""
    theirs, sent = os.pipe()
    answers, written = os.pipe()
    ends = [_free(theirs), _free(written)]
    actions = [(os.POSIX_SPAWN_DUP2, end, place) for place, end in enumerate(ends, 3)]
    quiet = [(os.POSIX_SPAWN_OPEN, place, os.devnull, os.O_WRONLY, 0) for place in (1, 2)]
    command = [CHROMIUM or "", *OPTIONS, f"--user-data-dir={folder}"]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=[*actions, *quiet])
    for end in ends:
        os.close(end)
    try:
        page = Page(sent, answers)
        yield page
        page.session = {}
        page.ask("Browser.close")
    finally:
        os.close(sent)
        os.close(answers)
        _end(process)


def _end(process: int) -> None:
    """Wait for a browser that was told to end; kill one that does not."""
    until = time.monotonic() + CLOSING
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return
        time.sleep(0.05)


def _free(descriptor: int) -> int:
    """Return the same end of a pipe under a number that no end of the browser's has."""
    import fcntl

    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FREE)
    os.close(descriptor)
    return moved
