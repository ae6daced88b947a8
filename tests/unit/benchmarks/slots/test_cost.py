import json
import re
from pathlib import Path

import pytest
import torch

from benchmarks.pages import tables
from benchmarks.slots import cost
from benchmarks.slots.implementations import IMPLEMENTATIONS, Workload, held_bytes, warmed_up
from beyondprop import slots
from beyondprop.errors import install

pytest.importorskip("numba", reason="the fused form needs numba")


def tiny():
    return Workload("tiny", (12, 20, 5), 8)


def test_every_implementation_is_timed_and_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost, "workloads", lambda: [tiny()])
    output = tmp_path / "cost.json"
    cost.main(rounds=2, warmup=2, threads=1, output=output)
    record = json.loads(output.read_text())
    assert record["spec"] == {"rounds": 2, "warmup": 2, "threads": [1], "slots": 8}
    assert [row["form"] for row in record["rows"]] == list(IMPLEMENTATIONS)
    first = record["rows"][0]
    assert (first["ratio"], first["state_ratio"], first["peak_ratio"]) == (1, 1, 1)
    table = output.with_suffix(".md").read_text()
    for row in record["rows"]:
        assert row["seconds"] > 0
        assert row["peak_bytes"] == row["resting_bytes"] + row["step_bytes"] > row["resting_bytes"]
        assert 0 < row["changed"] <= 1
        assert f"| tiny | {row['form']} | 1 | 8 | {row['seconds'] * 1000:.3f} |" in table
    assert "A training step of slot machines" in capsys.readouterr().out


def test_every_implementation_learns_the_same_weights() -> None:
    """Rounding may decide otherwise for a few of them."""
    trained = {name: warmed_up(lambda b=b: b(tiny()), 5) for name, b in IMPLEMENTATIONS.items()}
    fused, plain, scores, textbook = (
        torch.cat([w.flatten() for w in training.weights()])
        for name, training in trained.items()
        if name != "dense"
    )
    assert torch.equal(fused, plain)
    for other in (scores, textbook):
        assert ((fused - other).abs() < 1e-6).double().mean() > 0.97


def test_the_plain_form_is_plain_and_the_fused_one_fused() -> None:
    def steps(name):
        training = warmed_up(lambda: IMPLEMENTATIONS[name](tiny()), 1)
        return vars(slots.machine_of(training.model).reels[0].scores)["_steps"]

    assert type(steps("one number a weight, plain PyTorch")) is slots.staircase.PlainStaircase
    assert type(steps("one number a weight, fused")) is slots.staircase.FusedStaircase


def test_state_counts_every_tensor_once() -> None:
    """Of weights: 1 for them, 1 for the numbers, 2 for edges, 8 for scores, 8 for values."""
    expected = dict(zip(IMPLEMENTATIONS, (1, 2, 4, 17, 16), strict=True))
    weights = 4 * (12 * 20 + 20 * 5)
    for name, build in IMPLEMENTATIONS.items():
        training = warmed_up(lambda b=build: b(tiny()), 2)
        assert held_bytes(training, momentum=False) == expected[name] * weights
        momentum = 8 if name.startswith("K scores") else 1
        assert held_bytes(training) == (expected[name] + momentum) * weights


def test_what_is_fused_needs_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    from beyondprop.errors import UserError

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=re.escape(install("fast"))):
        cost.main(output=Path("nowhere.json"))


def test_the_table_of_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"threads": 2, "ratio": 1.234, "state_ratio": 2.0, "peak_ratio": 1.305}
    rows = [{"net": "lenet", "form": "fused", **figures}]
    monkeypatch.setattr(
        tables, "load", lambda name: {"rows": rows} if name == "slots/cost" else None
    )
    heads, _, line = tables.table("slots cost").splitlines()
    assert heads == (
        "| network | form | threads | step time / dense | state / weights | peak memory / dense |"
    )
    assert line == "| lenet | fused | 2 | 1.23 | 2.0 | 1.30 |"
