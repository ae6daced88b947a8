"""The comparison of the photonic co-processor with theory, on a small scale."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.optics import formulas, theory, theory_points

pytest.importorskip("matplotlib", reason="the plot needs matplotlib")


OUTPUTS, SEEDS = 1000, 2

RELATIVE = {
    "photons": 0.05,
    "read noise": 0.03,
    "all three": 0.03,
    "bits": 0.04,
    "instability": 0.03,
    "phase noise": 0.12,  # of few draws: one a row and step for all outputs
    "slope": 0.02,
}
"""How far from theory sampling lets measured be, as a share of theory."""


def formula_holds(row: dict) -> bool:
    """Whether the point lies where its formula's assumptions do, as the record's notes say."""
    if row["part"] == "bits":
        return row["at"] > 4  # steps finer than the speckle
    return row["part"] != "clipped share" or row["theory"] > 1e-3


def sampling_error(row: dict) -> float:
    """How far from theory measured may be; rows, which resemble, are counted as one."""
    part, theory, outputs = row["part"], row["theory"], SEEDS * OUTPUTS
    if part in ("clipped share", "hot pixels"):
        return 3 * math.sqrt(theory * (1 - theory) / outputs)
    if part == "full well":  # only what is clipped errs, and in a deep well little is
        return theory / math.sqrt(outputs * formulas.clipped(row["at"], 1.0))
    return 0.01 if part == "drift" else RELATIVE[part] * abs(theory)


def test_the_simulator_and_theory_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(theory_points, "OUTPUTS", OUTPUTS)
    monkeypatch.setattr(theory_points, "ROWS", 20)
    monkeypatch.setattr(theory_points, "PHOTONS", (10.0, 1e3, 1e5))
    theory_points.sample.cache_clear()
    output = tmp_path / "theory.json"
    theory.main(repeats=SEEDS, threads=1, output=output)
    rows = json.loads(output.read_text())["rows"]
    parts = {row["part"] for row in rows}
    assert parts >= {"photons", "bits", "read noise", "full well", "clipped share", "drift"}
    assert parts >= {"instability", "hot pixels", "phase noise", "all three", "slope"}
    for row in rows:
        assert len(row["each"]) == 2
        assert row["ratio"] == pytest.approx(row["measured"] / row["theory"])
        if formula_holds(row):
            assert row["measured"] == pytest.approx(row["theory"], abs=sampling_error(row)), row
    assert "| slope | off-axis | – | -0." in output.with_suffix(".md").read_text()
    assert output.with_suffix(".svg").read_text().startswith("<?xml")
    assert "against theory" in capsys.readouterr().out


def test_the_share_that_is_clipped() -> None:
    for well in (0.5, 3.0):
        assert formulas.clipped(well, 0.0) == pytest.approx(math.exp(-well))
        assert formulas.clipped(well, 1e-9) == pytest.approx(math.exp(-well), rel=1e-6)
        assert formulas.clipped(well, 4.0) > math.exp(-well)
    assert formulas.clipped(0.0, 2.0) == pytest.approx(1)


def test_what_is_clipped_errs_less_the_deeper_the_well() -> None:
    errors = [formulas.clipping(well, 1.0, 4) for well in (1.0, 4.0, 8.0, 16.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01
