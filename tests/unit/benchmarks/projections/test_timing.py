import json
import re
from pathlib import Path

import pytest

from benchmarks.pages import tables
from benchmarks.projections import timing
from beyondprop.errors import UserError, install
from beyondprop.projections import ALL, Hadamard, Streamed

pytest.importorskip("numba", reason="the fused loops need numba")


def test_every_kind_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [
        timing.Sizes(20, 30, 4),
        timing.Sizes(64, 64, 1, (Hadamard,)),
        timing.Sizes(640, 1000, 2, (Streamed,), part=100),
    ]
    monkeypatch.setattr(timing, "sizes", lambda: few)
    output = tmp_path / "projections.json"
    timing.main(rounds=2, threads=1, output=output)
    record = json.loads(output.read_text())
    assert record["spec"] == {"rounds": 2, "threads": 1}
    rows = record["rows"]
    assert [row["kind"] for row in rows] == [kind.name for kind in ALL] + ["hadamard", "streamed"]
    assert rows[0]["ratio"] == 1
    assert all(row["ratio"] > 0 for row in rows[:-2])
    assert [row["ratio"] for row in rows[-2:]] == [None, None]
    assert sum(row["chosen"] or 0 for row in rows) == 1
    assert all(row["full_rank"] for row in rows if row["chosen"])
    for row in rows:
        assert row["seconds"] == row["timed_seconds"] * row["outputs"] / row["timed_outputs"]
        assert row["predicted_seconds"] > 0
        rate = row["inputs"] * row["outputs"] / row["seconds"]
        assert row["entries_per_second"] == pytest.approx(rate)
    assert (rows[-1]["timed_outputs"], rows[-1]["outputs"]) == (100, 1000)
    table = output.with_suffix(".md").read_text()
    assert f"| 64 – 64 | hadamard | 1 | {rows[-2]['seconds'] * 1000:,.3f} | – |" in table
    assert "Time of random projections" in capsys.readouterr().out


def test_the_part_of_streamed_is_done_as_the_whole() -> None:
    """By the same loop, in whole blocks."""
    from beyondprop.kernels import signs

    parts = [size for size in timing.sizes() if size.part is not None]
    assert [size.batch for size in parts] == [1, 64]
    for size in parts:
        assert size.part % signs.BLOCK == 0
        assert size.part >= signs.WORTH * size.batch


def test_the_sizes_of_the_issue_are_among_them() -> None:
    names = {size.name for size in timing.sizes()}
    assert names >= {"1048576-1048576-1", "1048576-1048576-64", "1000000-1000000-1"}
    assert names >= {f"{inputs}-4096-256" for inputs in (10, 1000, 4096, 50000)}


def test_what_is_fused_needs_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=re.escape(install("fast"))):
        timing.main(output=Path("nowhere.json"))


def rows_of_a_size() -> list[dict[str, object]]:
    size = {"inputs": 1000, "outputs": 4096, "batch": 256, "seconds": 0.02}
    figures = {"dense": (1.0, True, False), "signs": (0.9, True, False)}
    figures |= {"hadamard": (1.2, True, True), "low-rank": (0.1, False, False)}
    return [
        {**size, "kind": kind, "ratio": ratio, "full_rank": full, "chosen": chosen}
        for kind, (ratio, full, chosen) in figures.items()
    ]


def wide_row() -> dict[str, object]:
    row = {"inputs": 10**6, "outputs": 10**6, "batch": 64, "kind": "streamed", "ratio": None}
    times = {"timed_outputs": 10**4, "seconds": 125.0, "entries_per_second": 8e9}
    return row | times | {"stored_bytes": 0}


def test_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*rows_of_a_size(), wide_row()]
    found = {
        "projections/timing": {"rows": rows},
        "projections/many_classes": {"rows": [learning_row(), TIME]},
    }
    monkeypatch.setattr(tables, "load", found.__getitem__)
    heads, _, *lines = tables.table("projections sizes").splitlines()
    assert heads.startswith("| size | `dense`, ms | `signs` | `hadamard` | `low-rank` | chosen |")
    # 1.2 of dense's time, and the fastest of full rank took 0.9 of it
    of_size = "| 1,000 to 4,096, batch 256 | 20.00 | 0.90 | 1.20 | 0.10 | `hadamard` | 1.33 |"
    assert lines == [of_size]
    _, _, *lines = tables.table("projections wide").splitlines()
    streamed = "| `streamed`, 1,000,000 to 1,000,000 | 64 | 125.0 s | 1.0% | 8.0 | 0.0 |"
    assert lines == [streamed]
    _, _, *lines = tables.table("projections errors").splitlines()
    assert lines == ["| dense | 0.100 ± 0.010 / 0.200 ± 0.020 | 61.50% ± 0.25 | 40% |"]


TIME = {"part": "time", "way": "dense", "seconds": 0.5, "ratio": 1.0}


def learning_row() -> dict[str, object]:
    cosines = {"alignment": [[0.1, 0.01], [0.2, 0.02]]}
    return {
        "part": "learning",
        "way": "dense",
        "accuracy": 0.615,
        "deviation": 0.0025,
        "recovery": 0.4,
    } | cosines
