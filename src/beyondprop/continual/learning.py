"""A model learns a stream by a rule and a method, and is scored on all of it after each task."""

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
"""Samples that a model is scored on at a time."""


@dataclass(frozen=True)
class Learned:
    """What became of a stream.

    Attributes:
        matrix: Scores on test samples after each experience.
        floor: The mean score of a model that knows the last experience alone, as well as this one.
        bits: What the method kept besides the model at the end.
        model_bits: Of the model.
    """

    matrix: Matrix
    floor: float
    bits: int
    model_bits: int


@dataclass(frozen=True)
class Lessons(Course[tuple[Any, Any]]):
    """The batches of one experience, as a method has them learned.

    Attributes:
        handle: Of the rule.
        learner: The method.
        samples: Of the training part.
        recipe: Its batch size and its seed, which orders samples.
    """

    handle: Attachment
    learner: Learner
    samples: Samples
    recipe: Recipe

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.samples) // self.recipe.batch_size)

    def batches(self, epoch: int) -> Iterator[tuple[Any, Any]]:
        """Yield the batches of an epoch, in the order that every run of the seed has."""
        rows = order(self.recipe.seed, epoch, len(self.samples))
        for some in rows.split(sizes(len(rows), self.recipe.batch_size)):
            yield self.samples.batch(some)

    def loss(self, batch: tuple[Any, Any]) -> Tensor:
        """Not asked for: the method differentiates."""
        raise NotImplementedError

    def rows(self, batch: tuple[Any, Any]) -> int:
        """Return those of the targets."""
        return len(batch[1])

    def differentiate(self, batch: tuple[Any, Any]) -> Tensor:
        """Have the method add its gradients."""
        return self.learner.differentiate(self.handle, *batch)


def learn(
    stream: Stream,
    task: Task,
    method: Method,
    recipe: Recipe,
    progress: Progress | None = None,
) -> Learned:
    """Have a model learn a stream's experiences one after another.

    Each experience gets a new optimizer, whose rate falls linearly to zero, and the rule is
    attached again, with the same fixed weights. Test samples are scored alone, and nothing is
    chosen by them.

    Args:
        stream: Of what is to be learned.
        task: Its model, loss, metric and blocks; its data is not taken.
        method: Against forgetting.
        recipe: Rule, epochs of each experience, batch size, learning rate and seed.
        progress: Bars to draw on; none by default.

    Raises:
        UserError: The model, the rule or the method does not fit the stream, or the loss is no
            longer a number.
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
    """Return the mean score of a model that knows the last experience alone.

    Of the others it says nothing right where they have classes of their own and are not told; else
    it knows of them what an untrained model does.
    """
    blind = bool(stream.experiences[0].classes) and not stream.told
    others = [0.0 if blind else score for score in matrix.before[:-1]]
    return mean([*others, matrix.rows[-1][-1]])


def learn_together(
    stream: Stream, task: Task, recipe: Recipe, progress: Progress | None = None
) -> tuple[float, ...]:
    """Return the scores where all experiences are learned at once: the ceiling.

    It has as many passes over each sample as `learn`.

    Args:
        stream: Of what is to be learned.
        task: See `learn`.
        recipe: See `learn`.
        progress: Bars to draw on; none by default.
    """
    shown = progress or Progress(disable=True)
    with generators_kept():
        learner = begun(task, Plain(), recipe)
        one(learner, together(stream).train, task, recipe, "all together", shown)
        return tuple(scores(learner, stream, task))


def begun(task: Task, method: Method, recipe: Recipe) -> Learner:
    """Return a method at work on a fresh model."""
    torch.manual_seed(recipe.seed)
    model = task.model()
    method.prepare(model, recipe.seed)
    return method.start(Learning(model, task.loss, recipe.batch_size, recipe.seed))


def one(
    learner: Learner, samples: Samples, task: Task, recipe: Recipe, title: str, progress: Progress
) -> None:
    """Have a model learn one experience's samples."""
    with taught(learner.model, blocked(recipe, task), task.output, task.axes) as handle:
        trained(Lessons(handle, learner, samples, recipe), recipe, progress, title)


def blocked(recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe with the task's blocks where it names none."""
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
    """Return logits ``(batch, classes)`` in which all but some classes are -∞."""
    left = torch.full_like(outputs, -torch.inf)
    left[:, list(classes)] = outputs[:, list(classes)]
    return left


def model_bits(model: nn.Module) -> int:
    """Return what a model's parameters take."""
    return sum(8 * p.element_size() * p.numel() for p in model.parameters())
