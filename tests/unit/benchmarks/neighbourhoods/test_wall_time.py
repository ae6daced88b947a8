import json
from pathlib import Path

import pytest
from rich.progress import Progress

from benchmarks.neighbourhoods import tables, wall_time
from beyondprop.errors import UserError
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distilling import distil_task


def test_a_finished_distillation_is_timed(tmp_path: Path) -> None:
    spec = DistilSpec(
        task="digits-conv",
        blocks=(("0", "1", "2", "3", "4"),),
        candidates=({"candidate": "narrower", "share": 0.5},),
        budgets=(0.7,),
        seeds=(0,),
        teacher_epochs=1,
        epochs=1,
        heal_epochs=1,
        rates=(1e-3,),
    )
    with pytest.raises(UserError, match="no finished distillation"):
        wall_time.main(tmp_path)
    record = distil_task(spec, tmp_path / "d", progress=Progress(disable=True))
    heads, (line,) = tables.distilled(record)
    assert len(heads) == len(line)
    assert "one seed supports no comparison" in tables.told(record)
    wall_time.main(tmp_path / "d", 0.7, 1, tmp_path / "runs", tmp_path / "wall_time.json")
    (row,) = json.loads((tmp_path / "wall_time.json").read_text())["rows"]
    assert set(row["seconds"]) == {"library, 1", *wall_time.TIMED}
    assert all(each > 0 for each in row["seconds"].values())


def test_pieces_gain_where_they_reach_the_same() -> None:
    row = {
        "seed": 0,
        "budgets": 2,
        "seconds": {
            "library, 1": 100.0,
            "library, 2": 50.0,
            "healed": 10.0,
            "end to end, shared": 120.0,
            "end to end, whole": 220.0,
        },
        "scores": {
            "merged": 0.8,
            "healed": 0.85,
            "end to end, shared": 0.84,
            "end to end, whole": 0.9,
        },
    }
    heads, lines = tables.wall_time([row], 2)
    assert lines[0][1:] == ["shared", "120 s", "0.8400", "60 s", "35 s", "0.8500", "2.0×", "3.4×"]
    assert lines[1][1:] == ["whole", "220 s", "0.9000", "110 s", "60 s", "0.8500", "–", "–"]
    row["scores"] = dict.fromkeys(row["scores"], 0.9)
    reached = tables.wall_time([row], 2)[1][1]
    assert reached[4:] == ["100 s", "50 s", "0.9000", "2.2×", "4.4×"]
    assert len(heads) == len(reached)
