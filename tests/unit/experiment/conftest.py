"""Fixtures of the experiments' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.progress import Progress

from beyondprop.jobs.progress import bars


@pytest.fixture
def progress() -> Progress:
    return bars()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "run"
