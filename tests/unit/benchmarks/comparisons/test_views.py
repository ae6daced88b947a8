import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.common.records import ROOT, load
from benchmarks.comparisons import views
from beyondprop.errors import UserError

EMPTY = 8.1102
"""PSNR in dB of a picture that is white everywhere."""


def test_the_page_says_what_the_record_of_a_scene_shows() -> None:
    text = " ".join((ROOT / "docs" / "views.md").read_text("utf-8").split())
    assert "One of the three runs of direct feedback alignment (DFA) ends" in text
    assert "with an empty scene (8.1 dB), and so do two of the frozen runs" in text
    ends = {"dfa": [], "frozen": []}  # type: dict[str, list[bool]]
    for run in load("comparisons/views-scene")["runs"]:
        if run["rule"]["name"] in ends:
            ends[run["rule"]["name"]].append(abs(run["test"]["score"] - EMPTY) < 1e-3)
    assert (sum(ends["dfa"]), len(ends["dfa"])) == (1, 3)
    assert sum(ends["frozen"]) == 2


def picture(colour: int) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def test_views_are_drawn_beside_the_true_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    details = {"true": [picture(9)] * 2, "rendered": [picture(3)] * 2, "psnr": [20.0, 21.5]}
    run = {"seed": 0, "rule": {"name": "dfa"}, "measures": {"views": {"details": details}}}
    monkeypatch.setattr(views, "load", lambda _: {"runs": [run, {**run, "seed": 1}]})
    views.main("scene", 0, tmp_path / "scene.svg")
    assert (tmp_path / "scene.svg").read_text("utf-8").count("<image") == 4
    assert views.decoded(picture(9)).getpixel((0, 0)) == (9, 0, 0)
    with pytest.raises(UserError, match="no views of seed 5"):
        views.main("scene", 5, tmp_path / "scene.svg")
