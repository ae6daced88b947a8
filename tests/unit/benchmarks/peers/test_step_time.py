import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.common import networks
from benchmarks.common.command_line import command_line
from benchmarks.pages import tables
from benchmarks.peers import biotorch, implementations, step_time

installed = pytest.mark.skipif(
    importlib.util.find_spec("biotorch") is None,
    reason="BioTorch is not installed: pip install --no-deps biotorch==0.0.16",
)


class Halved(torch.autograd.Function):
    """Passes back a gradient that is not backprop's."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:  # noqa: ARG004
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        return grad.flip(1)


class BioModule(nn.Module):
    """Stands for BioTorch's: the rule is another one in DFA only, and uSF breaks."""

    def __init__(self, module: nn.Sequential, mode: str, output_dim: int) -> None:
        super().__init__()
        print("Module has been converted")
        self.module, self.mode, self.output_dim = module, mode, output_dim

    def forward(self, x: Tensor, targets: Tensor | None = None, loss: Any = None) -> Tensor:
        if self.mode == "usf":
            raise RuntimeError("no such thing")
        if self.mode != "dfa":
            assert targets is None
            return self.module(x)
        assert self.output_dim == 10
        assert loss(x[:, :10], targets).ndim == 0
        return self.module[-1](Halved.apply(self.module[:-1](x)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {name: ModuleType(name) for name in ("biotorch", "biotorch.module")}
    modules["biotorch.module.biomodule"] = ModuleType("biotorch.module.biomodule")
    modules["biotorch.module.biomodule"].BioModule = BioModule  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(biotorch, "installed", lambda: "0.0.test")


def test_without_the_peer_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("sys.argv", ["step_time.py"])
    with pytest.raises(SystemExit) as ended:
        command_line(step_time.main)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "BioTorch, the peer of this benchmark, is not installed; "
        "run: pip install --no-deps biotorch==0.0.16"
    ]


@pytest.mark.usefixtures("fake")
def test_peers_writes_a_record_with_the_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [
        made
        for made in implementations.IMPLEMENTATIONS
        if made.rule in ("backprop", "fa", "dfa", "usf")
    ]
    ours = [implementations.Implementation("BeyondProp", "no-such-rule")]
    few = [made for made in few if made.library != "BeyondProp" or made.rule != "usf"] + ours
    monkeypatch.setattr(step_time, "IMPLEMENTATIONS", few)
    output = tmp_path / "step_time.json"
    step_time.main(rounds=2, warmup=1, threads=1, cases=("mlp-2x64",), output=output)
    record = json.loads(output.read_text())
    assert record["spec"] == {"rounds": 2, "warmup": 1, "threads": 1, "biotorch": "0.0.test"}
    rows = {(row["library"], row["rule"]): row for row in record["rows"]}
    assert rows["plain PyTorch", "backprop"]["ratio"] == 1.0
    assert rows["plain PyTorch", "backprop"]["cosine"] == pytest.approx(1)
    assert rows["BeyondProp", "backprop"]["cosine"] == pytest.approx(1)
    for made in (("BeyondProp", "fa"), ("BeyondProp", "dfa"), ("BioTorch", "dfa")):
        assert rows[made]["ratio"] > 0
        assert rows[made]["cosine"] < step_time.SAME
    failures = {made: row["failure"] for made, row in rows.items() if "failure" in row}
    assert failures["BioTorch", "fa"].startswith("a hidden layer has backprop's gradient or none")
    assert failures["BioTorch", "usf"] == "RuntimeError: no such thing"
    assert failures["BeyondProp", "no-such-rule"].startswith("UserError: unknown rule")
    assert len(failures) == 3
    assert not any("ratio" in rows[made] for made in failures)
    table = output.with_suffix(".md").read_text()
    assert "# Time of a training step compared with BioTorch 0.0.test" in table
    assert "| mlp-2x64 | BioTorch usf | 32 | failed | – | – | – |" in table
    assert "mlp-2x64, BioTorch usf: RuntimeError: no such thing\n" in table
    milliseconds = rows["BioTorch", "dfa"]["seconds"] * 1000
    assert f"| mlp-2x64 | BioTorch dfa | 32 | {milliseconds:.3f} |" in table
    assert "Module has been converted" not in capsys.readouterr().out


@pytest.mark.usefixtures("fake")
def test_every_implementation_starts_from_the_same_weights() -> None:
    (net,) = [net for net in networks.step_time_networks() if net.name == "mlp-2x64"]
    found = []
    for made in (
        implementations.BASELINE,
        *(implementations.Implementation("BioTorch", m) for m in ("fa", "dfa")),
    ):
        torch.manual_seed(0)
        prepared = made.prepare(net)
        found.append(([*prepared.parameters], prepared.loss()))
    for weights, loss in found[1:]:
        assert all(map(torch.equal, weights, found[0][0]))
        assert torch.equal(loss, found[0][1])


def prepared(mode: str, name: str = "mlp-4x64") -> Any:
    (net,) = [net for net in networks.step_time_networks() if net.name == name]
    torch.manual_seed(0)
    with biotorch.ignore_hook_warning():
        made = implementations.Implementation("BioTorch", mode).prepare(net)
        made.loss().backward()
    return made.network, net.batch()


@installed
@pytest.mark.parametrize("mode", ["fa", "dfa", "usf"])
def test_biotorch_does_what_the_rule_says(mode: str) -> None:
    """Its gradients, again by hand, with its own feedback matrices."""
    network, (inputs, targets) = prepared(mode)
    layers = [m for m in network if isinstance(m, nn.Linear)]
    activations = [inputs]
    with torch.no_grad():
        for layer in layers[:-1]:
            activations.append((activations[-1] @ layer.weight.t() + layer.bias).relu())
        outputs = activations[-1] @ layers[-1].weight.t() + layers[-1].bias
        error = (outputs.softmax(1) - nn.functional.one_hot(targets, 10)) / len(targets)
        signal = error
        for i in reversed(range(len(layers))):
            assert torch.allclose(layers[i].weight.grad, signal.t() @ activations[i], atol=1e-6)
            back = layers[i].weight_backward
            if mode == "usf":
                rows, columns = layers[i].weight.shape
                back = (2 / (rows + columns)) ** 0.5 * layers[i].weight.sign()
            signal = (error if mode == "dfa" else signal) @ back * (activations[i] > 0)


@installed
@pytest.mark.parametrize("net", ["mlp-2x64", "convnet"])
def test_biotorch_runs_every_mode(net: str) -> None:
    (chosen,) = [n for n in networks.step_time_networks() if n.name == net]
    with biotorch.ignore_hook_warning():
        for made in implementations.IMPLEMENTATIONS:
            if made.library == "BioTorch":
                assert "cosine" in step_time.check(made, chosen), made


def test_the_table_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"net": "convnet", "library": "plain PyTorch", "rule": "backprop", "seconds": 0.0314},
        *(
            {"net": "convnet", "library": library, "rule": rule, "ratio": ratio}
            for library, ratio in (("BeyondProp", 0.876), ("BioTorch", 1.2))
            for rule in ("fa", "dfa", "usf", "backprop", "frsf")
        ),
    ]
    rows[-3] = {"net": "convnet", "library": "BioTorch", "rule": "usf", "failure": "it broke"}
    monkeypatch.setattr(tables, "load", lambda _: {"rows": rows})
    heads, _, line = tables.table("peers").splitlines()
    assert heads.startswith("| network | plain PyTorch, ms | fa, BioTorch | fa, BeyondProp | dfa, ")
    assert line == "| convnet | 31.40 | 1.20 | 0.88 | 1.20 | 0.88 | failed | 0.88 |"
