"""The benchmark of what projections keep: its record and its tables."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.pages import tables
from benchmarks.projections import statistics
from beyondprop.projections import Dense, Hadamard, Signs


def test_every_kind_has_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(statistics, "WIDTHS", ((64, 16), (16, 64)))
    output = tmp_path / "statistics.json"
    statistics.main(pairs=20, maps=3, repeats=2, threads=1, output=output)
    rows = json.loads(output.read_text())["rows"]
    assert [row["kind"] for row in rows] == 2 * list(statistics.KINDS)
    assert all(len(row[name]) == 2 for row in rows for name in statistics.COLUMNS)
    assert "Statistics of random projections" in capsys.readouterr().out

    monkeypatch.setattr(tables, "load", {"projections/statistics": {"rows": rows}}.__getitem__)
    _, _, *lines = tables.table("projections statistics").splitlines()
    assert len(lines) == len(rows)
    deviation = rows[0]["squared_norm_deviation"]
    figures = f"{deviation[0]:.4f} ± {deviation[1]:.4f}"
    assert lines[0].startswith(f"| dense, 64 to 16 | 0.3536 | {figures} |")


def test_the_figures_are_those_of_theory() -> None:
    """Gaussian entries: by 2000 pairs the deviations are known to 2%, and norms to 1.1%."""
    found = statistics.of_pairs(Dense(0), 256, 64, 2000, seed=0)
    assert abs(found["norm_mean"] - 1) < 0.02
    assert found["squared_norm_deviation"] == pytest.approx((2 / 64) ** 0.5, rel=0.08)
    assert found["norm_deviation"] == pytest.approx((1 / 128) ** 0.5, rel=0.08)
    assert found["inner_deviation"] == pytest.approx(1, rel=0.08)
    rotated = statistics.of_pairs(Hadamard(0), 64, 64, 50, seed=0)
    assert max(rotated["squared_norm_deviation"], rotated["inner_deviation"]) < 1e-5


def test_the_outputs_are_those_of_theory() -> None:
    inputs = statistics.inputs(64)
    assert all(x.norm() == pytest.approx(1) for x in inputs.values())
    signs = statistics.of_maps(Signs(0), inputs["one_hot"], 256, 40)
    assert signs["excess_kurtosis"] == pytest.approx(-2)
    assert signs["norm_deviation"] == pytest.approx(0, abs=1e-6)
    gaussian = statistics.of_maps(Signs(0), inputs["constant"], 256, 40)
    assert abs(gaussian["excess_kurtosis"] + 2 / 64) < 0.25  # five standard errors
    assert abs(gaussian["neighbours"]) < 0.05

    class Doubled(Signs):
        def project(self, x, out_features, stream):
            return super().project(x, out_features, stream)[..., torch.arange(out_features) // 2]

    assert statistics.of_maps(Doubled(0), inputs["constant"], 256, 40)["neighbours"] > 0.4
