"""Parts against the whole network from noise, on digits and for a moment."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.neighbourhoods import noise, tables
from beyondprop.errors import UserError


def made(folder: Path, **changes: Any) -> dict[str, Any]:
    output = folder / "noise.json"
    given: dict[str, Any] = {
        "task": "digits-conv",
        "blocks": [("0", "1", "2"), ("3", "4", "5"), ("8", "9")],
        "candidate": {"candidate": "low-rank", "share": 0.3},
        "cases": ["gaussian"],
        "drawn": 300,
        "epochs": 2,
        "teacher_epochs": 1,
        "rates": (1e-3,),
        "repeats": 2,
        "workers": 1,
        "runs": folder / "runs",
        "output": output,
    }
    noise.main(**given | changes)
    record: dict[str, Any] = json.loads(output.read_text())
    return record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("noise")
    made(found)
    return found


@pytest.fixture
def rows(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    record = json.loads((folder / "noise.json").read_text())
    return {(row["inputs"], row["taught"]): row for row in record["rows"]}


def test_every_way_has_the_same_operations(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    ways = [("known samples", way) for way in noise.FROM_SAMPLES]
    ways += [("gaussian", way) for way in noise.FROM_NOISE]
    assert [*rows] == [("–", "teacher"), *ways]
    for name, row in rows.items():
        assert len(row["score"]) == 2
        assert row["failed"] is None
        if name[1] not in ("teacher", "nothing"):
            for spent, total in zip(row["operations"], row["total"], strict=True):
                assert spent == pytest.approx(total, rel=0.06)  # whole steps
    own = rows["gaussian", "parts, own inputs"]
    assert own["operations"] == own["total"]


def test_a_second_call_does_nothing_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    before = json.loads((folder / "noise.json").read_text())["rows"]
    for name in ("train", "distil", "Training"):
        monkeypatch.setattr(noise, name, never)
    assert made(folder)["rows"] == before
    assert not [*(folder / "runs").rglob("activations")]


def test_the_table_subtracts_the_whole_network(
    folder: Path, rows: dict[tuple[str, str], dict[str, Any]]
) -> None:
    heads, lines = tables.noise([*rows.values()])
    cells = {tuple(line[:2]): dict(zip(heads, line, strict=True)) for line in lines}
    one, other = (rows["gaussian", way]["score"] for way in ("parts, own inputs", "end to end"))
    less = sum(a - b for a, b in zip(one, other, strict=True)) / 2
    shown = cells["gaussian", "parts, own inputs"]["minus end to end"]
    assert shown.startswith(f"{less:+.4f} ± ")
    assert cells["gaussian", "end to end"]["minus end to end"] == "–"
    assert cells["–", "teacher"]["minus end to end"] == "–"
    assert (folder / "noise.md").read_text().count("\n| ") == len(lines) + 2


def test_a_way_that_failed_is_told() -> None:
    row = noise.row("gaussian", "end to end", [{"rate": 0.1, "failed": "no numbers"}, {}])
    heads, (line,) = tables.noise([row])
    assert line[:4] == ["gaussian", "end to end", "–", "–"]
    assert len(heads) == len(line)
    row["total"] = [1.0, 1.0]
    assert tables.noise_notes([row], "accuracy")[-1] == "gaussian, end to end: no numbers."


def test_parts_that_cannot_be_smaller_are_told(folder: Path) -> None:
    with pytest.raises(UserError, match="no part of digits-conv can be made smaller by"):
        made(folder, candidate="fewer-heads", repeats=1, output=folder / "none.json")
