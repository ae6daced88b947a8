from collections.abc import Sequence

import pytest

from benchmarks.common.command_line import command_line
from benchmarks.step_time import rules


def test_an_unknown_case_is_named_and_the_known_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rules.py", "--cases", "[none-such]"])
    with pytest.raises(SystemExit) as ended:
        command_line(rules.main)
    assert ended.value.code == 2
    assert "no case is called 'none-such'; there are mlp-4x1024" in capsys.readouterr().err


@pytest.mark.parametrize(
    "cases",
    [
        ["--cases", "mlp-2x64", "mlp-8x*"],
        ["--cases", "mlp-2x64,mlp-8x*"],
        ["--cases=mlp-2x64,mlp-8x*"],
        ["--cases", '["mlp-2x64", "mlp-8x*"]'],
    ],
)
def test_cases_are_typed_as_lists_are_in_the_command_line(
    cases: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}

    def main(rounds: int = 3, cases: tuple[str, ...] = ("*",), slow_down: int = 0) -> None:
        found.update(rounds=rounds, cases=cases, slow_down=slow_down)

    monkeypatch.setattr("sys.argv", ["rules.py", "--rounds=2", *cases, "--slow-down", "1"])
    command_line(main)
    assert found == {"rounds": 2, "cases": ("mlp-2x64", "mlp-8x*"), "slow_down": 1}


def test_a_flag_takes_a_list_where_the_signature_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}

    def main(
        samples: int = 1, kinds: Sequence[str] = ("a",), seeds: list[int] | None = None
    ) -> None:
        found.update(samples=samples, kinds=list(kinds), seeds=seeds)

    words = ["--samples", "4000", "--kinds", "class", "1e3", "--seeds", "0", "1"]
    monkeypatch.setattr("sys.argv", ["forgetting.py", *words])
    command_line(main)
    assert found == {"samples": 4000, "kinds": ["class", "1e3"], "seeds": [0, 1]}
