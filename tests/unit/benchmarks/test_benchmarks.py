import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.measure import PeakMemory

MB = 10**6


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_step_time_writes_a_record_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = script("step_time")
    output = tmp_path / "new" / "times.json"
    benchmark.main(rounds=2, warmup=1, threads=1, cases=("mlp-2x64",), output=output)
    record = json.loads(output.read_text())
    taught = [name for name in bp.rules.RULES if name != "ff"]  # it takes nets of its own kind
    rules = ["plain PyTorch", *taught, "dfa, ChainStep"]
    assert [row["rule"] for row in record["rows"]] == rules
    assert record["rows"][0]["ratio"] == 1.0
    assert all(row["seconds"] > 0 for row in record["rows"])
    assert record["spec"] == {"rounds": 2, "warmup": 1, "threads": 1}
    assert record["provenance"]["hardware"]["threads"] == 1
    table = output.with_suffix(".md").read_text()
    for row in record["rows"]:
        assert f"| mlp-2x64 | {row['rule']} | 32 | {row['seconds'] * 1000:.3f} |" in table
    assert "mlp-2x64" in capsys.readouterr().out


def test_an_unknown_case_is_named_and_the_known_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark, results = script("step_time"), script("results")
    monkeypatch.setattr("sys.argv", ["step_time.py", "--cases", "[none-such]"])
    with pytest.raises(SystemExit) as ended:
        results.command_line(benchmark.main)
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

    monkeypatch.setattr("sys.argv", ["step_time.py", "--rounds=2", *cases, "--slow-down", "1"])
    script("results").command_line(main)
    assert found == {"rounds": 2, "cases": ("mlp-2x64", "mlp-8x*"), "slow_down": 1}


def test_every_net_is_what_its_name_says() -> None:
    nets = script("nets")
    for net in (*nets.step_time_nets(), *nets.memory_nets()):
        model, (inputs, targets) = net.build(), net.batch()
        with torch.no_grad():
            assert model(inputs).shape == (len(targets), nets.CLASSES), net.name
        if net.name.startswith("mlp"):
            hidden, width = map(int, net.name.removeprefix("mlp-").split("x"))
            layers = [m for m in model if isinstance(m, nn.Linear)]
            assert [m.out_features for m in layers] == [width] * hidden + [10]


def test_the_flop_limit_by_hand() -> None:
    """784-1024×8-10, batch 256."""
    nets, flops = script("nets"), script("flops")
    (net,) = [net for net in nets.step_time_nets() if net.name == "mlp-8x1024"]
    found = flops.products(net)
    weights = [784 * 1024, *[1024 * 1024] * 7, 1024 * 10]
    assert found.layers == tuple(2 * 256 * w for w in weights)
    assert found.projections == 2 * 256 * 8 * 10 * 1024
    backprop = 3 * sum(weights) - weights[0]
    dfa = 2 * sum(weights) + 8 * 10 * 1024
    assert found.limit("dfa") == pytest.approx(dfa / backprop)
    assert found.limit("dfa") == pytest.approx(0.69, abs=0.005)
    assert found.limit("backprop") == found.limit("fa") == 1
    assert found.limit("drtp") == pytest.approx(2 * sum(weights) / backprop)
    assert found.limit("frozen") == pytest.approx((sum(weights) + weights[-1]) / backprop)


def test_the_flop_limit_of_a_convolution_by_hand() -> None:
    nets, flops = script("nets"), script("flops")
    (net,) = [net for net in nets.step_time_nets() if net.name == "convnet"]
    found = flops.products(net)
    positions, channels = [32 * 32, 16 * 16, 8 * 8], [3, 32, 64, 128]
    convolutions = [
        2 * 64 * at * 9 * before * after
        for at, before, after in zip(positions, channels, channels[1:], strict=False)
    ]
    assert found.layers == (*convolutions, 2 * 64 * 2048 * 10)
    # The signal goes to what comes out of the pooling, a quarter of the positions.
    assert found.projections == 2 * 64 * 10 * (32 * 256 + 64 * 64 + 128 * 16)


def test_every_rule_has_a_limit() -> None:
    nets, flops = script("nets"), script("flops")
    found = flops.products(nets.step_time_nets()[3])
    rules = [case.name for case in nets.step_time_nets()[3].cases()]
    assert nets.CHAIN_STEP in rules
    assert {*bp.rules.RULES} - {"ff"} < {*rules}
    beyond = ("wm", "scff", "pepita")  # a mirror, pairs of inputs, a second pass come on top
    assert all(0 < found.limit(rule) <= 1 for rule in rules if rule not in beyond)
    assert all(1 < found.limit(rule) < 3 for rule in beyond)


def test_memory_takes_medians_relative_to_plain() -> None:
    benchmark, nets = script("memory"), script("nets")
    net = nets.memory_nets()[0]
    plain = [PeakMemory(10 * MB, size * MB, "") for size in (100, 90, 130)]
    found = [PeakMemory(5 * MB, size * MB, "m") for size in (60, 50, 40)]
    row = benchmark.row(net, "dfa", found, plain)
    assert row["resident_bytes"] == 50 * MB
    assert row["resident_ratio"] == 0.5
    assert row["resident_spread"] == pytest.approx(0.4)
    assert row["tensor_ratio"] == 0.5
    assert len(row["repeats"]) == 3
    text = benchmark.sheet([row]).markdown()
    assert "| mlp-4x1024 | dfa | 50.0 | 0.500 | 40.0% | 5.0 | 0.500 |" in text


def test_memory_where_the_system_does_not_say() -> None:
    benchmark, nets = script("memory"), script("nets")
    found = [PeakMemory(10 * MB, None, "")]
    row = benchmark.row(nets.memory_nets()[0], "dfa", found, found)
    assert row["resident_ratio"] is None
    text = benchmark.sheet([row]).markdown()
    assert "| mlp-4x1024 | dfa | – | – | – | 10.0 | 1.000 |" in text
