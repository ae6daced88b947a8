"""The sessions that worked on a folder, so that a record tells all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beyondprop.experiment import forms
from beyondprop.files import write_json

SESSIONS = "sessions.json"


def begin(folder: Path, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Note a session in its folder, and return those before it.

    Args:
        folder: Of the work.
        now: What is known of the session; see `provenance.session`.

    Raises:
        StorageError: The file of sessions is not what was written.
    """
    before = (forms.read(folder / SESSIONS, forms.SESSIONS) or {"sessions": []})["sessions"]
    write_json(folder / SESSIONS, {"sessions": [*before, now]})
    return list(before)
