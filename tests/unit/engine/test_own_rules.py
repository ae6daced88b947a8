"""What the page promises holds for rules that the library does not have itself."""

import copy
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop.core import At, Block, LossRule, SignalRule, Traits


@dataclass(frozen=True)
class ErrorTaughtFeedback(SignalRule):
    """A signal by a matrix that learns from the output error alone; it reads no block's output."""

    name: ClassVar[str] = "learned-from-error"
    traits: ClassVar[Traits] = Traits(
        frozenset({"error"}), ends_graph=True, exact_at_output=True, one_output=True
    )

    def start(self, block: Block) -> dict[str, torch.Tensor]:  # noqa: ARG002
        return {"feedback": nn.UninitializedParameter()}

    def prepare(self, at: At, errors: torch.Size) -> None:
        matrix = at.state["feedback"]
        if isinstance(matrix, nn.UninitializedParameter):
            matrix.materialize((errors[1], at.shape[1]))
            nn.init.ones_(matrix)

    def signal(self, at: At) -> torch.Tensor:
        (error,) = at.run.errors
        at.gradients["feedback"] = torch.full_like(at.state["feedback"], 2.0)
        return error @ at.state["feedback"].detach()


@dataclass(frozen=True)
class TargetTaughtFeedback(ErrorTaughtFeedback):
    """The same, of a rule that could teach as soon as a block has run."""

    traits: ClassVar[Traits] = Traits(frozenset({"targets"}), ends_graph=True, exact_at_output=True)

    def signal(self, at: At) -> torch.Tensor:
        return at.run.targets.new_ones(at.shape, dtype=torch.float32)


@dataclass(frozen=True)
class Returns(SignalRule):
    """Returns something as a signal."""

    found: object
    name: ClassVar[str] = "returns"
    traits: ClassVar[Traits] = Traits(frozenset({"error"}), ends_graph=True, exact_at_output=True)

    def signal(self, at: At) -> torch.Tensor:  # noqa: ARG002
        return self.found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "not None"),
        ("a", "not 'a'"),
        (torch.zeros(3), r"not shape \(3,\)"),
        (torch.zeros(1, 5), r"not shape \(1, 5\)"),
    ],
)
def test_a_signal_of_another_kind_or_shape_is_refused(found, said):
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    bp.attach(model, Returns(found))
    loss = model(torch.ones(3, 4)).sum()
    problem = rf"signal of Returns for block '0' must be a tensor of shape \(3, 5\), .*, {said}"
    with pytest.raises(bp.UserError, match=problem):
        loss.backward()


@dataclass(frozen=True)
class Remembers(SignalRule):
    """Keeps a mean of its signals, which it returns from start or adds later."""

    begun: object
    name: ClassVar[str] = "remembers"
    traits: ClassVar[Traits] = Traits(frozenset({"error"}), ends_graph=True, exact_at_output=True)

    def start(self, block: Block) -> dict[str, torch.Tensor]:  # noqa: ARG002
        return self.begun

    def signal(self, at: At) -> torch.Tensor:
        before = at.state.setdefault("mean", torch.zeros(5))
        at.state["mean"] = 0.5 * before + 0.5
        return at.state["mean"].expand(at.shape)


def test_a_state_that_grows_after_start_is_refused_and_one_from_start_is_whole():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    handle = bp.attach(model, Remembers({}))
    with pytest.raises(bp.UserError, match="Remembers adds 'mean' to its state after start: ret"):
        model(torch.ones(3, 4)).sum().backward()
    handle.remove()
    handle = bp.attach(model, Remembers({"mean": torch.zeros(5)}))
    model(torch.ones(3, 4)).sum().backward()
    assert handle.state_dict()["0.mean"].tolist() == [0.5] * 5
    copied = copy.deepcopy(model)
    copied(torch.ones(3, 4)).sum().backward()
    assert bp.attachment_of(copied).state_dict()["0.mean"].tolist() == [0.75] * 5
    assert handle.state_dict()["0.mean"].tolist() == [0.5] * 5
    copied = pickle.loads(pickle.dumps(model))
    with pytest.raises(bp.UserError, match="adds 'other'"):
        bp.attachment_of(copied).passes.taught[bp.attachment_of(copied).blocks[0]].state.update(
            other=torch.zeros(1)
        )


def test_a_state_takes_back_what_start_returned_and_nothing_else():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    handle = bp.attach(model, Remembers({"mean": torch.zeros(5)}))
    state = handle.passes.taught[handle.blocks[0]].state
    state["mean"] = state.pop("mean") + 1
    state |= {"mean": state["mean"] + 1}
    assert state["mean"].tolist() == [2.0] * 5
    with pytest.raises(bp.UserError, match="adds 'other'"):
        state |= {"other": torch.ones(1)}


@pytest.mark.parametrize(
    "begun", [torch.zeros(3), nn.Linear(2, 2), {"mean": 1.0}, {0: torch.ones(1)}, None]
)
def test_a_state_that_is_no_dict_of_tensors_is_refused(begun):
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    with pytest.raises(bp.UserError, match="start of Remembers must return a dict of tensors"):
        bp.attach(model, Remembers(begun))


@dataclass(frozen=True)
class Echo(SignalRule):
    """Learns by what the next block sends back, and sends a message of its own."""

    name: ClassVar[str] = "echo"
    traits: ClassVar[Traits] = Traits(frozenset({"sent_back"}), ends_graph=True)

    def signal(self, at: At) -> torch.Tensor:
        assert at.sent_back is not None
        at.message = torch.full((), 7.0)
        return torch.ones(at.shape) * at.sent_back.mean()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, 4), torch.randint(3, (8,))


def test_a_state_that_reads_no_output_is_prepared_and_learns():
    model, (x, y) = network(), batch()
    handle = bp.attach(model, ErrorTaughtFeedback())
    outputs = model(x)
    outputs.retain_grad()
    F.cross_entropy(outputs, y).backward()
    matrices = handle.parameters()
    assert [tuple(each.shape) for each in matrices] == [(3, 5), (3, 6)]
    assert all((each.grad == 2).all() for each in matrices)
    hidden = model[1](model[0](x))
    expected = (outputs.grad @ torch.ones(3, 5) * (1 - hidden**2)).t() @ x
    torch.testing.assert_close(model[0].weight.grad, expected)


def test_immediate_refuses_feedback_that_it_would_not_teach():
    model, (x, y) = network(), batch()
    handle = bp.attach(model, TargetTaughtFeedback())
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.1)
    handle.follow(bp.Immediate(optimizer))
    with (
        handle.targets(y),
        pytest.raises(
            bp.UserError, match="TargetTaughtFeedback computes gradients for its own state"
        ),
    ):
        model(x)


def test_a_message_goes_to_the_block_before_and_no_farther():
    """Between two blocks that exchange messages an exact one sends back its own gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    rules = {"0": Echo(), "1": bp.Backprop(), "2": Echo(), "3": bp.Backprop()}
    bp.attach(model, rules)
    x, y = torch.randn(8, 4), torch.randint(4, (8,))
    F.cross_entropy(model(x), y).backward()
    plain = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    plain.load_state_dict(model.state_dict())
    hidden = [x]
    for layer in plain:
        hidden.append(layer(hidden[-1]))
        hidden[-1].retain_grad()
    F.cross_entropy(hidden[-1], y).backward()
    second = torch.ones(8, 4) * hidden[3].grad.mean()  # what block 2 learns by
    third = second @ plain[2].weight  # at the output of block 1, its exact gradient
    torch.testing.assert_close(model[1].weight.grad, third.t() @ hidden[1])
    first = torch.ones(8, 4) * (third @ plain[1].weight).mean()
    torch.testing.assert_close(model[0].weight.grad, first.t() @ x)


def test_neighbours_hear_the_message():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    bp.attach(model, {"0": Echo(), "1": Echo(), "2": bp.Backprop()})
    x, y = torch.randn(8, 4), torch.randint(4, (8,))
    F.cross_entropy(model(x), y).backward()
    torch.testing.assert_close(model[0].weight.grad, torch.full((8, 4), 7.0).t() @ x)


@pytest.mark.parametrize("silent", [bp.Frozen(), bp.SoftHebb()])
def test_a_block_that_would_hear_nothing_is_refused(silent):
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    with pytest.raises(bp.UserError, match="would never learn"):
        bp.attach(model, {"0": Echo(), "1": silent, "2": bp.Backprop()})


def test_contexts_of_exact_gradients_may_overlap():
    """Those of two threads do, and those of generators."""
    model, (x, y) = network(), batch()
    handle = bp.attach(model, bp.Frozen())
    first, second = bp.exact_gradients(model), bp.exact_gradients(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert handle.exact
    second.__exit__(None, None, None)
    F.cross_entropy(model(x), y).backward()
    assert model[0].weight.grad is None


@dataclass(frozen=True)
class DetachedLoss(LossRule):
    """Its loss leads nowhere."""

    name: ClassVar[str] = "detached-loss"
    traits: ClassVar[Traits] = Traits(frozenset({"output"}), ends_graph=True, exact_at_output=True)

    def loss(self, at: At) -> torch.Tensor:
        return at.output.detach().var()


def test_a_loss_that_leads_nowhere_is_refused():
    model, (x, _) = network(), batch()
    bp.attach(model, DetachedLoss())
    with pytest.raises(bp.UserError, match="does not depend on block '0'"):
        model(x)


class Magnitude(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.h = nn.Linear(4, 4, dtype=torch.cfloat), nn.Linear(4, 3)

    def forward(self, x):
        return self.h(self.a(x.to(torch.cfloat)).abs())


def test_complex_outputs_are_refused_by_losses_of_their_own():
    model, (x, y) = Magnitude(), batch()
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()), ["a", "h"])
    with handle.targets(y), pytest.raises(bp.UserError, match="returns complex numbers"):
        model(x)
