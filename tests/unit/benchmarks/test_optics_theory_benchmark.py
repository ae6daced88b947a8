"""The comparison of the photonic co-processor with theory, on a small scale."""

import importlib
import json
import math
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the plot needs matplotlib")


def script(name: str):
    return importlib.import_module(name)


def test_the_simulator_and_theory_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark, points = script("optics_theory"), script("optics_points")
    monkeypatch.setattr(points, "OUTPUTS", 400)
    monkeypatch.setattr(points, "ROWS", 20)
    monkeypatch.setattr(points, "PHOTONS", (10.0, 1e3, 1e5))
    output = tmp_path / "optics_theory.json"
    benchmark.main(repeats=2, threads=1, output=output)
    rows = json.loads(output.read_text())["rows"]
    parts = {row["part"] for row in rows}
    assert parts >= {"photons", "bits", "read noise", "full well", "clipped share", "drift"}
    assert parts >= {"instability", "hot pixels", "phase noise", "all three", "slope"}
    for row in rows:
        assert len(row["each"]) == 2
        assert row["ratio"] == pytest.approx(row["measured"] / row["theory"])
        if row["part"] in ("photons", "read noise", "all three"):
            assert row["ratio"] == pytest.approx(1, abs=0.12), row
        if row["part"] == "slope":
            assert row["measured"] == pytest.approx(-0.5, abs=0.02)
    assert "| slope | off-axis | – | -0." in output.with_suffix(".md").read_text()
    assert output.with_suffix(".svg").read_text().startswith("<?xml")
    assert "against theory" in capsys.readouterr().out


def test_the_share_that_is_clipped() -> None:
    theory = script("optics_formulas")
    for well in (0.5, 3.0):
        assert theory.clipped(well, 0.0) == pytest.approx(math.exp(-well))
        assert theory.clipped(well, 1e-9) == pytest.approx(math.exp(-well), rel=1e-6)
        assert theory.clipped(well, 4.0) > math.exp(-well)
    assert theory.clipped(0.0, 2.0) == pytest.approx(1)


def test_what_is_clipped_errs_less_the_deeper_the_well() -> None:
    theory = script("optics_formulas")
    errors = [theory.clipping(well, 1.0, 4) for well in (1.0, 4.0, 8.0, 16.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01
