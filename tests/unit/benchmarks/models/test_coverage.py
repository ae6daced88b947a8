import json
from pathlib import Path

import pytest

import beyondprop as bp
from benchmarks.models import coverage
from benchmarks.models.case import Name
from benchmarks.models.tables import share
from benchmarks.models.trial import TEACH
from benchmarks.models.zoo import MODELS


def test_coverage_writes_a_record_and_a_table(tmp_path: Path) -> None:
    output = tmp_path / "new" / "coverage.json"
    coverage.main(cases=("NeRF",), output=output)
    rows = json.loads(output.read_text())["rows"]
    assert [row["rule"] for row in rows] == list(TEACH)
    assert {row["rule"]: row["taught"] for row in rows} == {
        "dfa": True, "fa": True, "usf": True, "dgl": True, "slots": True,
    }  # fmt: skip
    assert {row["hidden_weights"] for row in rows} == {2 * 16 * 27 + 3 * 16 * 16}
    assert "| NeRF | plain PyTorch | 100% | 100% | 100% | 100% | 100% |" in (
        output.with_suffix(".md").read_text()
    )


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # nn.Transformer
@pytest.mark.parametrize("name", [name for name, case in MODELS.items() if not case.package])
def test_the_call_that_is_shown_attaches(name: str) -> None:
    case = MODELS[name]
    model = case.model()
    rule = bp.DirectFeedbackAlignment()
    shown = eval(case.call(), {"bp": bp, "model": model, "rule": rule})
    names = [block.name for block in shown.blocks]
    shown.remove()
    assert names == [block.name for block in case.attach(model, rule).blocks]


def test_a_name_is_shown_as_it_is() -> None:
    assert repr({"h": Name("rule")}) == "{'h': rule}"


def test_too_small_a_share_is_in_brackets() -> None:
    row = {"refused": "", "share": 0.5, "taught": False}
    assert share(row) == "(50%)"
    assert share(row | {"refused": "no"}) == "refused"
