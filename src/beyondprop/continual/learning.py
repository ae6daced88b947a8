"""Trains a model on a stream, and scores all experiences after each one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.continual.matrix import Matrix
from beyondprop.continual.methods.base import Learner, Learning, Method
from beyondprop.continual.methods.plain import Plain
from beyondprop.continual.streams import Experience, Stream, together
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept, untouched
from beyondprop.pieces.data import sizes
from beyondprop.pieces.training import Course, Recipe, taught, trained
from beyondprop.tasks import Samples, Task
from beyondprop.tasks.order import order

EVALUATED = 1000
"""Samples per batch when a model is scored."""


@dataclass(frozen=True)
class Learned:
    """The result of learning a stream.

    Attributes:
        matrix: Scores on test samples after each experience.
        floor: The mean score of a model that knows only the last experience, as well as this one
            does.
        bits: Size of what the method stores in addition to the model, at the end.
        model_bits: Size of the model.
    """

    matrix: Matrix
    floor: float
    bits: int
    model_bits: int


@dataclass(frozen=True)
class Lessons(Course[tuple[Any, Any]]):
    """The batches of one experience, learned through a method.

    Attributes:
        handle: The attachment of the rule.
        learner: The method.
        samples: Samples of the training split.
        recipe: Its batch size is used, and its seed for the order of samples.
    """

    handle: Attachment
    learner: Learner
    samples: Samples
    recipe: Recipe

    @property
    def steps(self) -> int:
        """Number of batches per epoch."""
        return -(-len(self.samples) // self.recipe.batch_size)

    def batches(self, epoch: int) -> Iterator[tuple[Any, Any]]:
        """Yield the batches of an epoch, in the same order for every run with the seed."""
        rows = order(self.recipe.seed, epoch, len(self.samples))
        for some in rows.split(sizes(len(rows), self.recipe.batch_size)):
            yield self.samples.batch(some)

    def loss(self, batch: tuple[Any, Any]) -> Tensor:
        """Not used, because the method differentiates the loss."""
        raise NotImplementedError

    def rows(self, batch: tuple[Any, Any]) -> int:
        """Return the number of targets in the batch."""
        return len(batch[1])

    def differentiate(self, batch: tuple[Any, Any]) -> Tensor:
        """Let the method add its gradients."""
        return self.learner.differentiate(self.handle, *batch)


def learn(
    stream: Stream,
    task: Task,
    method: Method,
    recipe: Recipe,
    progress: Progress | None = None,
) -> Learned:
    """Train a model on a stream's experiences one after another.

    Each experience gets a new optimizer, whose rate falls linearly to zero, and the rule is
    attached again with the same fixed weights. Test samples are used only for scores, never to
    choose anything.

    Args:
        stream: The experiences to learn.
        task: Provides the model, loss, metric and blocks; its data is not used.
        method: The method against forgetting.
        recipe: Rule, epochs of each experience, batch size, learning rate and seed.
        progress: Shows progress bars; none by default.

    Raises:
        UserError: The model, the rule or the method does not fit the stream, or the loss is no
            longer a finite number.
    """
    shown = progress or Progress(disable=True)
    with generators_kept():
        learner = begun(task, method, recipe)
        before = scores(learner, stream, task)
        rows = []
        for experience in stream.experiences:
            learner.begin(experience)
            title = f"{method.name}, {experience.name}"
            one(learner, experience.data.train, task, recipe, title, shown)
            learner.end(experience)
            rows.append(scores(learner, stream, task))
    matrix = Matrix.of(before, rows)
    return Learned(matrix, floor(stream, matrix), learner.bits, model_bits(learner.model))


def floor(stream: Stream, matrix: Matrix) -> float:
    """Return the mean score of a model that knows only the last experience.

    Its score on the other experiences is zero if they have separate classes and the model does not
    receive the experience; otherwise it is the score of the untrained model.
    """
    blind = bool(stream.experiences[0].classes) and not stream.told
    others = [0.0 if blind else score for score in matrix.before[:-1]]
    return mean([*others, matrix.rows[-1][-1]])


def learn_together(
    stream: Stream, task: Task, recipe: Recipe, progress: Progress | None = None
) -> tuple[float, ...]:
    """Return the scores after all experiences are learned together: the ceiling.

    Each sample is used as often as in `learn`.

    Args:
        stream: The experiences to learn.
        task: See `learn`.
        recipe: See `learn`.
        progress: Shows progress bars; none by default.
    """
    shown = progress or Progress(disable=True)
    with generators_kept():
        learner = begun(task, Plain(), recipe)
        one(learner, together(stream).train, task, recipe, "all together", shown)
        return tuple(scores(learner, stream, task))


def begun(task: Task, method: Method, recipe: Recipe) -> Learner:
    """Return a learner of the method for a new model."""
    torch.manual_seed(recipe.seed)
    model = task.model()
    method.prepare(model, recipe.seed)
    return method.start(Learning(model, task.loss, recipe.batch_size, recipe.seed))


def one(
    learner: Learner, samples: Samples, task: Task, recipe: Recipe, title: str, progress: Progress
) -> None:
    """Train a model on one experience's samples."""
    with taught(learner.model, blocked(recipe, task), task.output, task.axes) as handle:
        trained(Lessons(handle, learner, samples, recipe), recipe, progress, title)


def blocked(recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe, with the task's blocks if it does not name any."""
    if recipe.blocks is not None or task.blocks is None:
        return recipe
    blocks = [each if isinstance(each, str) else tuple(each) for each in task.blocks]
    return replace(recipe, blocks=blocks)


def scores(learner: Learner, stream: Stream, task: Task) -> list[float]:
    """Return the score on the test samples of each experience."""
    return [scored(learner, each, stream.told, task) for each in stream.experiences]


@torch.no_grad()
def scored(learner: Learner, experience: Experience, told: bool, task: Task) -> float:
    """Return the score on an experience's test samples.

    If the experience is known, the model chooses among its classes only.
    """
    model, test = learner.model, experience.data.test
    found, targets = [], []
    with untouched(model), exact_gradients(model):
        model.eval()
        for inputs, wanted in test.batches(EVALUATED):
            out = learner.outputs(inputs, experience if told else None)
            found.append(among(out, experience.classes) if told and experience.classes else out)
            targets.append(wanted)
    return float(task.metric(torch.cat(found), torch.cat(targets)))


def among(outputs: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Return logits ``(batch, classes)`` with -∞ for all classes that are not listed."""
    left = torch.full_like(outputs, -torch.inf)
    left[:, list(classes)] = outputs[:, list(classes)]
    return left


def model_bits(model: nn.Module) -> int:
    """Return the size of a model's parameters in bits."""
    return sum(8 * p.element_size() * p.numel() for p in model.parameters())
