import json
from pathlib import Path

import pytest
import torch

from benchmarks.step_time import by_hand
from benchmarks.step_time.hand_written import TEACHING, networks

SMALL = {net.name: net for net in networks(1) if net.vocabulary < 100}


@pytest.mark.parametrize("name", SMALL)
def test_the_library_teaches_what_is_written_by_hand(name: str) -> None:
    found = {}
    inputs, targets = SMALL[name].batch()
    for kind in ("by hand", "library"):
        torch.manual_seed(0)
        model = SMALL[name].build().double()
        given = inputs.double() if inputs.is_floating_point() else inputs
        TEACHING[kind](SMALL[name], model)(given, targets)
        found[kind] = {name: p.grad for name, p in model.named_parameters()}
    assert all(gradient is not None for gradient in found["by hand"].values())
    torch.testing.assert_close(found["library"], found["by hand"], rtol=1e-12, atol=1e-12)


def test_by_hand_writes_a_record_and_a_table(tmp_path: Path) -> None:
    output = tmp_path / "by_hand.json"
    by_hand.main(1, 1, 1, 1, cases=("decoder",), runs=tmp_path / "runs", output=output)
    record = json.loads(output.read_text())
    (row,) = record["rows"]
    assert set(row["seconds"]) == set(TEACHING)
    assert all(value > 0 for value in (row["by_hand"], row["library"], row["beside_hand"]))
    assert row["most"] == 1.0
    assert "| decoder | whole | " in output.with_suffix(".md").read_text()
