import json
from pathlib import Path

from benchmarks.random_features import attacks, evaluation, ridge, tables


def test_what_is_cached_is_cached_for_these_sizes_and_this_code_alone(tmp_path, monkeypatch):
    assert evaluation.digest("mnist") != evaluation.digest("digits")
    before = evaluation.digest("digits")
    assert evaluation.digest("digits") == before
    changed = tmp_path / "attacks.py"
    changed.write_text("another = 1")
    for what, name, value in (
        (evaluation, "RIDGE_SIZES", (50,)),
        (evaluation, "MEDIA", range(2)),
        (ridge, "RATES", (1.0,)),
        (attacks, "__file__", str(changed)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(what, name, value)
            assert evaluation.digest("digits") != before
    assert evaluation.digest("digits") == before


def test_the_benchmark_in_small(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "KERNEL_SIZES", (100, 1600))
    monkeypatch.setattr(evaluation, "RIDGE_SIZES", (50,))
    monkeypatch.setitem(evaluation.SETS, "digits", ("digits-conv", ("digits",), 16, 32))
    small = {"digits": ridge.Problem("digits-mlp", (100, 50, 50), (0.5,), "accuracy")}
    monkeypatch.setattr(ridge, "PROBLEMS", small)
    output, runs = tmp_path / "made.json", tmp_path / "runs"
    given = {"epochs": 1, "samples": 6, "steps": 2, "queries": 4, "runs": runs, "output": output}
    evaluation.main("digits", repeats=2, **given)
    rows = json.loads(output.read_text())["rows"]
    kernel = {(r["device"], r["features"]): r["error"] for r in rows if r["part"] == "kernel"}
    assert 2.5 < kernel["ideal", 100] / kernel["ideal", 1600] < 6  # 1/√n: 4
    defended = [r for r in rows if r["part"] == "defence"]
    assert len(defended) == 14
    assert all(row["worst"] <= row["blind"] <= row["natural"] for row in defended)
    assert all(("own" in row) == ("frozen" not in row["way"]) for row in defended)
    unhidden = [row for row in defended if not row["way"].startswith("light")]
    assert all(row["worst"] == row["blind"] <= row["known"] for row in unhidden)
    assert len([r for r in rows if r["part"] == "ridge"]) == 2 * 7
    for made in (tables.kernel, tables.ridge, tables.defence):
        heads, lines = made(rows)
        assert lines
        assert all(len(line) == len(heads) for line in lines)
    assert "| defence, light, dfa | no attack |" in output.with_suffix(".md").read_text()
    (place,) = runs.iterdir()
    (place / "defence-light_dfa-1.json").unlink()  # as if interrupted: this alone is made again
    monkeypatch.setattr(evaluation, "scores", None)
    evaluation.main("digits", repeats=2, **given)
    assert json.loads(output.read_text())["rows"] == rows
    assert "Random features by light" in capsys.readouterr().out
