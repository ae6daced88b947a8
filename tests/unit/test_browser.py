"""The browser of the tests never keeps them waiting."""

import os
import time
from pathlib import Path

import pytest

from tests import browser


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="Windows starts no browser here")
def test_a_browser_that_is_stuck_is_given_up_and_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/process\nexec sleep 1000\n", "utf-8")
    stuck.chmod(0o755)
    monkeypatch.setattr(browser, "CHROMIUM", str(stuck))
    monkeypatch.setattr(browser, "LIMIT", 2.0)
    monkeypatch.setattr(browser, "CLOSING", 0.1)
    begun = time.monotonic()
    with (
        pytest.raises(AssertionError, match="does not answer"),
        browser.browser(tmp_path / "files"),
    ):
        pass
    assert time.monotonic() - begun < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "process").read_text("utf-8")), 0)
