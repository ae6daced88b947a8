import math

import pytest
import torch
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.measure import MEASURES, Subject, check_batch, isolation
from beyondprop.measure.isolation import Matrix

Batch = tuple[Tensor, Tensor]
DIRECT = [bp.DirectFeedbackAlignment(), bp.DirectRandomTargetProjection()]


class Residual(nn.Module):
    """Blocks that are no chain: each adds to what came before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 5)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in range(2))
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)


def later(changes: Matrix) -> list[float | None]:
    """The entries for a block and one after it."""
    return [row[j] for k, row in enumerate(changes) for j in range(k + 1, len(row))]


@pytest.mark.parametrize("rule", DIRECT)
def test_direct_rules_are_isolated(rule: bp.rules.Rule, net: nn.Sequential, batch: Batch) -> None:
    found = isolation(bp.attach(net, rule), *batch)
    assert found.isolated
    assert later(found.changes) == [0.0, 0.0, 0.0]
    assert found.crossings == ()
    assert min(later(found.backprop)) > 0.01  # the same change of weights moves true gradients
    assert "this is not backpropagation" in str(found)


@pytest.mark.parametrize("rule", [bp.Backprop(), bp.FeedbackAlignment()])
def test_rules_that_go_through_later_blocks_are_not(
    rule: bp.rules.Rule, net: nn.Sequential, batch: Batch
) -> None:
    found = isolation(bp.attach(net, rule), *batch)
    assert not found.isolated
    assert found.changes[0][1] > 0.01
    assert found.crossings == ("4", "6")
    assert "Blocks do not learn on their own" in str(found)


def test_backprop_equals_its_own_control(net: nn.Sequential, batch: Batch) -> None:
    found = isolation(bp.attach(net, bp.Backprop()), *batch)
    assert found.changes == found.backprop


def test_feedback_alignment_forgets_weights_but_not_activations(batch: Batch) -> None:
    """Its error does not see later weights, but their nonlinearities: without them, no change."""
    linear = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3))
    found = isolation(bp.attach(linear, bp.FeedbackAlignment()), *batch)
    assert later(found.changes) == [0.0, 0.0, 0.0]
    assert found.crossings == ("1", "2")
    assert not found.isolated


def test_one_leak_among_direct_blocks_is_found(net: nn.Sequential, batch: Batch) -> None:
    rules = {"0": bp.Backprop(), "4": bp.DirectFeedbackAlignment(), "6": bp.Backprop()}
    found = isolation(bp.attach(net, rules), *batch)
    assert found.crossings == ("4",)
    assert found.changes[0][1] > 0.01
    assert found.changes[0][2] == found.changes[1][2] == 0.0
    assert not found.isolated


@pytest.mark.parametrize("rule", DIRECT)
def test_residual_blocks_are_isolated(rule: bp.rules.Rule, batch: Batch) -> None:
    torch.manual_seed(0)
    handle = bp.attach(Residual(), rule, blocks=["stem", "layers.0", "layers.1", "head"])
    found = isolation(handle, *batch)
    assert found.isolated
    assert found.blocks == ("stem", "layers.0", "layers.1", "head")


class Shifted(Residual):
    """A lone parameter is added behind the first block."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) + self.shift
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def test_a_lone_parameter_is_no_block(batch: Batch) -> None:
    model = Shifted()
    blocks = ["shift", "stem", "layers.*", "head"]
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks)
    found = isolation(handle, *batch)
    assert found.blocks == ("stem", "layers.0", "layers.1", "head")
    assert found.isolated
    assert model.shift.requires_grad
    rows = check_batch(handle, batch[0], targets=batch[1]).rows
    assert [row.isolation and row.isolation.partition(":")[0] for row in rows] == [
        None,
        *["isolated"] * 3,
        "last",
    ]
    handle.remove()
    assert isolation(bp.attach(model, bp.Backprop(), blocks), *batch).crossings


def test_frozen_blocks_have_nothing_to_isolate(net: nn.Sequential, batch: Batch) -> None:
    found = isolation(bp.attach(net, bp.Frozen()), *batch)
    assert set(later(found.changes)) == {None}
    assert "nothing to isolate" in str(found)


def test_a_change_from_nothing_is_infinite(batch: Batch) -> None:
    """A dead head teaches nothing until its weights change."""
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    with torch.no_grad():
        net[1].weight.zero_()
    found = isolation(bp.attach(net, bp.Backprop()), *batch)
    assert found.changes[0][1] == math.inf
    assert not found.isolated


def test_targets_are_asked_for(net: nn.Sequential, batch: Batch) -> None:
    handle = bp.attach(net, bp.DirectRandomTargetProjection())
    with pytest.raises(UserError, match="give isolation the targets"):
        isolation(handle, batch[0])


def test_one_block_is_an_error(batch: Batch) -> None:
    handle = bp.attach(nn.Sequential(nn.Linear(6, 3)), bp.Backprop())
    with pytest.raises(UserError, match="only one"):
        isolation(handle, *batch)


def test_weights_come_back_after_an_error(net: nn.Sequential, batch: Batch) -> None:
    handle = bp.attach(net, bp.DirectRandomTargetProjection())
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UserError):
        isolation(handle, batch[0], torch.zeros(20, 99))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def told(net: nn.Module, rules: object, batch: Batch) -> tuple[object, list[str]]:
    """Return the verdict, and of every block the word or two before the colon, and the rest."""
    handle = bp.attach(net, rules)
    found = MEASURES["isolation"].run(Subject(handle=handle, inputs=batch[0], targets=batch[1]))
    assert list(found.notes) == [block.name for block in handle.blocks]
    return found.values["isolated"], list(found.notes.values())


def test_of_every_block_it_is_said_on_what_its_update_depends(
    net: nn.Sequential, batch: Batch
) -> None:
    leaky = {"0": bp.Backprop(), "4": bp.DirectFeedbackAlignment(), "6": bp.Backprop()}
    assert told(net, leaky, batch) == (
        False,
        [
            "dependent: its update changes with the weights of 4",
            "isolated: its update depends on no weight of a later block",
            "last: no block comes after it",
        ],
    )


def test_an_error_that_comes_through_later_blocks_is_told_without_a_change(batch: Batch) -> None:
    linear = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3))
    isolated, notes = told(linear, bp.FeedbackAlignment(), batch)
    assert isolated is False
    assert notes[0] == "dependent: its update comes through 1, though not by its weights"


def test_one_block_has_nothing_to_isolate(batch: Batch) -> None:
    handle = bp.attach(nn.Sequential(nn.Linear(6, 3)), bp.Backprop())
    found = MEASURES["isolation"].run(Subject(handle=handle, inputs=batch[0], targets=batch[1]))
    assert found.values == {"isolated": None}
    assert found.words == "There is only one block, so there is nothing to isolate."


def test_the_measure_takes_few_samples(net: nn.Sequential, batch: Batch) -> None:
    seen: list[int] = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    inputs, targets = batch[0].repeat(3, 1), batch[1].repeat(3)
    handle = bp.attach(net, bp.DirectFeedbackAlignment())
    MEASURES["isolation"].run(Subject(handle=handle, inputs=inputs, targets=targets))
    assert set(seen) == {32}
