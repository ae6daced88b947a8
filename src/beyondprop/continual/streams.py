"""Streams: tasks in sequence, where the data of earlier tasks is no longer available."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.errors import UserError
from beyondprop.tasks import Data, Samples, Split


@dataclass(frozen=True)
class Experience:
    """One task of a stream.

    Attributes:
        name: Name as tables show it.
        data: Its training, validation and test samples.
        classes: Its classes if experiences have separate classes; empty if all have the same.
    """

    name: str
    data: Data
    classes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Tasks in sequence, for one model.

    A stream is class-incremental if each experience has its own classes, and task-incremental if
    the model also receives the experience of each test sample: it then chooses among the classes of
    that experience. If all have the same classes, it is domain-incremental (van de Ven, Tuytelaars
    and Tolias, "Three types of incremental learning", 2022).

    Attributes:
        name: Name as tables show it.
        experiences: The experiences in order, at least two.
        told: Whether the model receives the experience of each test sample.

    Raises:
        UserError: There are fewer than two experiences, or two with one name.
    """

    name: str
    experiences: tuple[Experience, ...]
    told: bool = False

    def __post_init__(self) -> None:
        names = [each.name for each in self.experiences]
        if len(names) < 2 or len(set(names)) < len(names):
            raise UserError(f"{self.name} needs at least two experiences with different names")

    def __len__(self) -> int:
        return len(self.experiences)


def split_classes(data: Data, groups: Sequence[Sequence[int]], told: bool = False) -> Stream:
    """Return a stream in which each experience has its own classes.

    Args:
        data: Data with classes ``(n,)`` int64 as targets.
        groups: The classes of each experience; no class may be in two groups.
        told: Whether the model receives the experience of each test sample.

    Raises:
        UserError: The data has no classes, a class is in two groups, or one has no samples.
    """
    every = [one for group in groups for one in group]
    if len(set(every)) < len(every):
        raise UserError("a class is in two groups: name each class once")
    if not data.classes:
        raise UserError(f"{data.name} has no classes: use permuted or domains")
    if unknown := sorted(set(every) - set(range(len(data.classes)))):
        raise UserError(f"{data.name} has no class {unknown[0]}, only {len(data.classes)} classes")
    experiences = tuple(
        Experience(
            ", ".join(data.classes[one] for one in group),
            of_classes(data, tuple(group)),
            tuple(group),
        )
        for group in groups
    )
    kind = "task" if told else "class"
    return Stream(f"split {data.name}, {kind}-incremental", experiences, told)


def pairs_of(data: Data) -> list[tuple[int, ...]]:
    """Return the classes in consecutive pairs; with an odd number, the last group has three."""
    count = len(data.classes)
    firsts = range(0, count - 1, 2)
    return [tuple(range(one, count if one == firsts[-1] else one + 2)) for one in firsts]


def of_classes(data: Data, classes: tuple[int, ...]) -> Data:
    """Return a data set that contains only some of the classes.

    Raises:
        UserError: A split has no samples of them.
    """

    def own(part: str) -> Samples:
        samples = data.parts[part]
        _, targets = samples.batch(slice(0, len(samples)))
        rows = torch.isin(targets, torch.tensor(classes)).nonzero().flatten()
        if not len(rows):
            named = ", ".join(data.classes[each] for each in classes)
            raise UserError(f"the {part} part of {data.name} has no samples of the classes {named}")
        return samples.some(rows)

    return replace(data, train=own("train"), validation=own("validation"), test=own("test"))


def permuted(data: Data, count: int, seed: int = 0) -> Stream:
    """Return a stream of the same samples, whose numbers are in a different order in each
    experience.

    The first experience is shuffled too (Goodfellow et al., "An empirical investigation of
    catastrophic forgetting in gradient-based neural networks", 2013).

    Args:
        data: Data whose inputs are one tensor ``(n, ...)``.
        count: Number of experiences.
        seed: Seed of the orders.

    Raises:
        UserError: The inputs are several tensors, or each position has its own target.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = _one_tensor(data).shape[1:]
    orders = [torch.randperm(shape.numel(), generator=generator) for _ in range(count)]
    return Stream(
        f"permuted {data.name}",
        tuple(
            Experience(f"order {place + 1}", data.mapped(_shuffle(order)))
            for place, order in enumerate(orders)
        ),
    )


def domains(name: str, data: Sequence[Data]) -> Stream:
    """Return a stream of data sets of one kind, such as genres of text."""
    return Stream(name, tuple(Experience(each.name, each) for each in data))


def _one_tensor(data: Data) -> Tensor:
    inputs, targets = data.train.batch(torch.arange(1))
    if not isinstance(inputs, Tensor):
        raise UserError(f"the inputs of {data.name} must be one tensor to be permuted")
    if isinstance(targets, Tensor) and targets.dtype == torch.int64 and targets.dim() > 1:
        raise UserError(
            f"each position of {data.name} has its own target, so inputs can't be permuted: use "
            "domains"
        )
    return inputs


def _shuffle(order: Tensor) -> Callable[[Samples], Samples]:
    def shuffled(samples: Samples) -> Samples:
        inputs, targets = samples.batch(slice(0, len(samples)))
        return Split(inputs.flatten(1)[:, order].view_as(inputs), targets)

    return shuffled


def together(stream: Stream) -> Data:
    """Return the samples of all experiences as one data set, for the upper control.

    Raises:
        UserError: Their targets cannot be concatenated.
    """
    first = stream.experiences[0].data

    def joined(part: str) -> Split:
        found = [each.data.parts[part] for each in stream.experiences]
        every = [each.batch(slice(0, len(each))) for each in found]
        inputs, targets = zip(*every, strict=True)
        return Split(joined_rows(inputs), joined_rows(targets))

    return Data(first.name, joined("train"), joined("validation"), joined("test"), first.classes)


def joined_rows(batches: Sequence[object]) -> object:
    """Return batches of the same structure, concatenated."""
    others = [iter(leaves(each)) for each in batches[1:]]
    return replaced(batches[0], lambda x: torch.cat([x, *(next(each) for each in others)]))
