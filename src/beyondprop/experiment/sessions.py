"""The sessions that worked on a folder, for its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beyondprop.experiment import forms
from beyondprop.files import write_json

SESSIONS = "sessions.json"


def begin(folder: Path, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Write a session into its folder, and return the earlier sessions.

    Args:
        folder: Folder of the work.
        now: The session's facts; see `provenance.session`.

    Raises:
        StorageError: The file of sessions is damaged.
    """
    before = (forms.read(folder / SESSIONS, forms.SESSIONS) or {"sessions": []})["sessions"]
    write_json(folder / SESSIONS, {"sessions": [*before, now]})
    return list(before)
