"""Tasks whose networks classify by goodness, and the wrong answers that they are taught by."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.experiment.setup import check_fits, contrasted
from beyondprop.tasks import Task
from beyondprop.tasks.goodness import (
    CIFAR_GOODNESS,
    DIGITS_GOODNESS,
    MNIST_GOODNESS,
    right_and_wrong,
)

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar": (3, 32, 32)}
TASKS = {"digits": DIGITS_GOODNESS, "mnist": MNIST_GOODNESS, "cifar": CIFAR_GOODNESS}


@settings(max_examples=50, deadline=None)
@given(
    classes=st.integers(2, 6),
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=20),
    seed=st.integers(0, 2**16),
)
def test_the_wrong_class_is_never_the_right_one(classes: int, labels: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    targets = torch.tensor(labels) % classes
    inputs = torch.randn(len(targets), 3)
    (same, candidates), right = right_and_wrong(classes, inputs, targets)
    assert same is inputs
    assert torch.equal(candidates.gather(1, right.unsqueeze(1)).squeeze(1), targets)
    assert (candidates[:, 1] != targets).all()
    assert 0 <= candidates.min() <= candidates.max() < classes


def test_wrong_classes_are_drawn_evenly() -> None:
    torch.manual_seed(0)
    targets = torch.arange(4).repeat(3000)
    (_, candidates), _ = right_and_wrong(4, targets, targets)
    for label in range(4):
        counts = torch.bincount(candidates[targets == label, 1], minlength=4).double() / 3000
        expected = torch.full((4,), 1 / 3, dtype=torch.float64)
        expected[label] = 0
        torch.testing.assert_close(counts, expected, rtol=0, atol=0.04)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_learns_by_forward_forward_and_scores_all_classes(name: str) -> None:
    task, x, y = TASKS[name], torch.randn(3, *SHAPES[name]), torch.tensor([0, 4, 9])
    model = task.model()
    handle = bp.attach(model, bp.ForwardForward(), task.blocks)
    called, targets = contrasted(task, x, y)
    with handle.targets(targets):
        output = model(*called)
    assert output.shape == (3, 2)
    task.loss(output, targets).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    with torch.no_grad():
        assert model(x).shape == (3, 10)
    blocks = [block.name for block in handle.blocks]
    assert blocks == [f"blocks.{i}" for i in range(len(model.get_submodule("blocks")))]  # type: ignore[arg-type]


def test_forward_forward_learns_the_digits() -> None:
    task = DIGITS_GOODNESS
    data = task.load(None)
    torch.manual_seed(0)
    model = task.model()
    handle = bp.attach(model, bp.ForwardForward(), task.blocks)
    optimizer = task.optimizer(model.parameters(), task.learning_rate)

    def accuracy() -> float:
        with torch.no_grad():
            return task.metric(model(data.validation.inputs), data.validation.targets)

    before = accuracy()
    for _ in range(10):
        for rows in torch.randperm(len(data.train)).split(task.batch_size):
            called, y = contrasted(task, data.train.inputs[rows], data.train.targets[rows])
            optimizer.zero_grad()
            with handle.targets(y):
                F.cross_entropy(model(*called), y).backward()
            optimizer.step()
    assert before < 0.3
    assert accuracy() > 0.8


def test_a_task_without_contrast_calls_the_model_with_the_inputs() -> None:
    x, y = torch.randn(2, 3), torch.tensor([0, 1])
    task = Task("plain", "", load=DIGITS_GOODNESS.load, model=DIGITS_GOODNESS.model)
    inputs, targets = contrasted(task, x, y)
    assert inputs is x
    assert targets is y


def test_contrast_must_be_callable_and_its_faults_are_the_tasks() -> None:
    with pytest.raises(UserError, match="contrast must be callable"):
        Task("odd", "", DIGITS_GOODNESS.load, DIGITS_GOODNESS.model, contrast=3)  # type: ignore[arg-type]

    def broken(
        inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[tuple[torch.Tensor], torch.Tensor]:
        raise KeyError(inputs, targets)

    task = Task("broken", "", DIGITS_GOODNESS.load, DIGITS_GOODNESS.model, contrast=broken)
    with pytest.raises(UserError, match="contrast of task broken"):
        contrasted(task, torch.zeros(1), torch.zeros(1))


def test_a_contrast_that_does_not_fit_is_found_before_training() -> None:
    def misfit(inputs: torch.Tensor, targets: torch.Tensor):  # type: ignore[no-untyped-def]
        return (inputs, targets, targets), targets

    task = Task("misfit", "", DIGITS_GOODNESS.load, DIGITS_GOODNESS.model, contrast=misfit)
    data = task.load(None)
    with pytest.raises(UserError, match="the model of task misfit does not fit its data"):
        check_fits(task, task.model(), data.train, 64)
    check_fits(DIGITS_GOODNESS, DIGITS_GOODNESS.model(), data.train, 64)
