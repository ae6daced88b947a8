"""Data as people have it, trained, checked and compared."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import TensorDataset

import beyondprop as bp
from beyondprop.cli import main
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, compare, train
from beyondprop.experiment.setup import try_taught
from beyondprop.measure import evaluate
from beyondprop.tasks import Data, Samples, Split, Task, accuracy, from_dataset


def drawn(n: int = 96) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=generator)
    return x, (x[:, 0] > x[:, 1]).long()


def parts(of: Any) -> Data:
    x, y = drawn()
    made = [of(x[i : i + 32], y[i : i + 32]) for i in (0, 32, 64)]
    return Data("drawn", *made, classes=("no", "yes"))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def task(of: Any, **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "drawn",
        "summary": "drawn",
        "load": lambda _: parts(of),
        "model": mlp,
        "epochs": 2,
        "batch_size": 10,
    }
    return Task(**fields | changes)


def test_a_dataset_of_the_same_tensors_gives_the_same_bytes(tmp_path: Path) -> None:
    made = {}
    for name, of in (("split", Split), ("dataset", lambda x, y: from_dataset(TensorDataset(x, y)))):
        record = train(RunSpec(rule="dfa"), tmp_path / name, task=task(of))
        assert record["status"] == "finished"
        made[name] = (tmp_path / name / "weights.safetensors").read_bytes()
        curve = [{k: v for k, v in each.items() if k != "seconds"} for each in record["curve"]]
        made[f"{name} curve"] = curve, record["test"]
        assert set(record["measures"]) >= {"alignment", "isolation", "probe"}
        assert not [m["failure"] for m in record["measures"].values() if m.get("failure")]
    assert made["split"] == made["dataset"]
    assert made["split curve"] == made["dataset curve"]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(3, 8)
        self.head = nn.Linear(16, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        both = [torch.tanh(self.first(left)), torch.tanh(self.second(right))]
        made: Tensor = self.head(torch.cat(both, dim=1))
        return made


def two(x: Tensor, y: Tensor) -> Samples:
    return Split((x[:, :3], x[:, 3:]), y)


def named(x: Tensor, y: Tensor) -> Samples:
    return Split({"right": x[:, 3:], "left": x[:, :3]}, y)


def paired(of: Any) -> Task:
    return task(of, model=TwoInputs, blocks=("first", "second", "head"))


@pytest.mark.parametrize("rule", ["backprop", "dfa", "drtp", "fa", "predsim"])
def test_two_inputs_by_position_and_by_name_train_alike(rule: str, tmp_path: Path) -> None:
    records = [
        train(
            RunSpec(rule=rule),
            tmp_path / of.__name__,
            task=paired(of),
        )
        for of in (two, named)
    ]
    weights = [(tmp_path / of / "weights.safetensors").read_bytes() for of in ("two", "named")]
    assert weights[0] == weights[1]
    for record in records:
        assert record["status"] == "finished"
        assert not [m["failure"] for m in record["measures"].values() if m.get("failure")]


def test_two_inputs_are_compared_with_their_costs(tmp_path: Path) -> None:
    spec = CompareSpec(rules=("backprop", "dfa", "frozen"), seeds=(0,), learning_rates=(1e-2,))
    rows = compare(spec, tmp_path, task=paired(named))["rows"]
    assert all(row["step_ratio"] > 0 for row in rows if row["rule"] != "linear")


class Bag(nn.Module):
    """The mean of embeddings, of padded texts of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 8, padding_idx=0)
        self.hidden, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, words: Tensor) -> Tensor:
        known = (words > 0).sum(1, keepdim=True).clamp(min=1)
        made: Tensor = self.head(torch.tanh(self.hidden(self.embedding(words).sum(1) / known)))
        return made


def padded(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    texts = [text for text, _ in samples]
    return pad_sequence(texts, batch_first=True), torch.tensor([label for _, label in samples])


def ragged(x: Tensor, y: Tensor) -> Samples:
    texts = [row[: 1 + i % 5].abs().mul(2).long().clamp(1, 5) for i, row in enumerate(x)]
    return from_dataset([(t, int(label)) for t, label in zip(texts, y, strict=True)], padded)


@pytest.mark.parametrize("rule", ["backprop", "dfa", "drtp"])
def test_ragged_texts_train(rule: str, tmp_path: Path) -> None:
    blocks = ("embedding", "hidden", "head")
    record = train(RunSpec(rule=rule, blocks=blocks), tmp_path, task=task(ragged, model=Bag))
    assert record["status"] == "finished"
    failures = [m["failure"] for m in record["measures"].values() if m.get("failure")]
    assert not failures


def test_targets_of_several_tensors_are_a_matter_of_the_loss(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            made = self.head(torch.tanh(self.body(x)))
            return {"kind": made[:, :2], "size": made[:, 2]}

    def loss(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        kind = F.cross_entropy(outputs["kind"], targets["kind"])
        return kind + F.mse_loss(outputs["size"], targets["size"])

    def of(x: Tensor, y: Tensor) -> Samples:
        return Split(x, {"kind": y, "size": x[:, 2]})

    several = Task(
        "several",
        "",
        load=lambda _: Data("several", *(of(*drawn(32)) for _ in range(3))),
        model=Two,
        loss=loss,
        metric=lambda outputs, targets: accuracy(outputs["kind"], targets["kind"]),
        epochs=1,
        batch_size=8,
    )
    record = train(RunSpec(rule="dfa", blocks=("body", "head")), tmp_path / "dfa", task=several)
    assert record["status"] == "finished"
    with pytest.raises(UserError, match="must be one tensor, not a dict"):
        train(RunSpec(rule="drtp", blocks=("body", "head")), tmp_path / "drtp", task=several)


@pytest.mark.parametrize("size", [1, 3, 4, 32])
def test_scores_of_ragged_batches_weigh_every_sample_the_same(size: int) -> None:
    """Outputs of padded texts have as many positions as the longest text of their batch."""
    texts = [torch.full((1 + i % 4,), i + 1) for i in range(10)]

    def collate(samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        words = pad_sequence(samples, batch_first=True)
        return words.float(), words.float()

    def first(outputs: Tensor, targets: Tensor) -> float:
        assert outputs.shape == targets.shape
        return outputs[:, 0].mean().item()

    split = from_dataset(texts, collate)
    found = evaluate(nn.Identity(), split, lambda o, _: (o[:, 0] * 2).mean(), first, size)
    assert found.score == pytest.approx(5.5)
    assert found.loss == pytest.approx(11.0)


def test_outputs_in_containers_are_put_together_where_each_has_a_row_for_each_target() -> None:
    seen = []

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": x, "b": x * 2}

    def metric(outputs: dict[str, Tensor], targets: Tensor) -> float:
        seen.append((outputs["a"].shape, outputs["b"].sum().item(), len(targets)))
        return 0.0

    split = Split(torch.ones(7, 2), torch.zeros(7))
    evaluate(Pair(), split, lambda o, _: o["a"].sum(), metric, 3)
    assert seen == [((7, 2), 28.0, 7)]


def test_what_cannot_be_run_is_found_before_the_first_run(tmp_path: Path) -> None:
    class OfOne(nn.Module):  # takes one tensor, and the task gives two
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.head(self.body(x))
            return made

    with pytest.raises(UserError, match=r"does not fit its data: inputs .*takes 2 positional"):
        train(RunSpec(), tmp_path, task=task(two, model=OfOne))


def test_rules_are_tried_on_one_batch_before_a_comparison() -> None:
    def regression(x: Tensor, _y: Tensor) -> Samples:
        return Split(x, torch.stack([x[:, 0], x[:, 1], x[:, 2]], 1).view(-1, 3, 1))

    values = Task(
        "values",
        "",
        load=lambda _: Data("values", *(regression(*drawn(16)) for _ in range(3))),
        model=lambda: nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3), nn.Unflatten(1, (3, 1))),
        loss=F.mse_loss,
    )
    handle = bp.attach(values.model(), bp.LocalLoss(bp.CrossEntropy()))
    with pytest.raises(UserError, match=r"its targets must have shape \(n,\) or \(n, k\)"):
        try_taught(values, handle, values.load(None).train, 8)


def in_pairs() -> Task:
    """A task of two inputs, for the command line."""
    return paired(two)


def wrong_pairs() -> Task:
    """A task whose model takes one input of two."""
    return task(two, model=mlp)


def test_check_runs_the_batch_as_training_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{__name__}:in_pairs", "--rule", "dfa"]) == 0
    assert "first" in capsys.readouterr().out
    assert main(["check", f"{__name__}:wrong_pairs", "--rule", "dfa"]) == 2
    assert "takes 2 positional arguments but 3 were given" in capsys.readouterr().err


def test_a_pipeline_refuses_several_inputs() -> None:
    from beyondprop.experiment.pipeline_steps import PipelineSteps
    from beyondprop.experiment.plan import plan_run

    plan = plan_run(RunSpec(schedule="pipeline"), in_pairs(), "pairs")
    with pytest.raises(UserError, match="a pipeline sends one tensor of inputs"):
        PipelineSteps(plan, in_pairs(), parts(two).train)
