"""Tasks that come one after another, of which the earlier ones' data is gone."""

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
        name: As tables show it.
        data: Its training, validation and test samples.
        classes: Those that it has, where each has others; empty where all have the same.
    """

    name: str
    data: Data
    classes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Tasks one after another, for one model.

    It is class-incremental if each experience has its own classes, and task-incremental if the
    model is also given the experience of each test sample: then it chooses among that one's
    classes. Where all have the same classes, it is domain-incremental (van de Ven, Tuytelaars and
    Tolias, "Three types of incremental learning", 2022).

    Attributes:
        name: As tables show it.
        experiences: In their order, two or more.
        told: Whether the model is told at test which experience a sample is of.

    Raises:
        UserError: There are fewer than two, or two of one name.
    """

    name: str
    experiences: tuple[Experience, ...]
    told: bool = False

    def __post_init__(self) -> None:
        names = [each.name for each in self.experiences]
        if len(names) < 2 or len(set(names)) < len(names):
            raise UserError(f"{self.name} needs two experiences or more, of different names")

    def __len__(self) -> int:
        return len(self.experiences)


def split_classes(data: Data, groups: Sequence[Sequence[int]], told: bool = False) -> Stream:
    """Return a stream in which each experience has its own classes.

    Args:
        data: Classes ``(n,)`` int64.
        groups: The classes of each experience, no class in two.
        told: Whether the model is told at test which experience a sample is of.

    Raises:
        UserError: The data has no classes, a class is in two groups, or one has no samples.
    """
    every = [one for group in groups for one in group]
    if len(set(every)) < len(every):
        raise UserError("a class is in two groups: give each class once")
    if not data.classes:
        raise UserError(f"{data.name} has no classes: take permuted or domains")
    if unknown := sorted(set(every) - set(range(len(data.classes)))):
        raise UserError(f"{data.name} has no class {unknown[0]}, but {len(data.classes)} classes")
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
    """Return classes in pairs, in their order; of an odd number the last ones are three."""
    count = len(data.classes)
    firsts = range(0, count - 1, 2)
    return [tuple(range(one, count if one == firsts[-1] else one + 2)) for one in firsts]


def of_classes(data: Data, classes: tuple[int, ...]) -> Data:
    """Return a data set of some classes alone.

    Raises:
        UserError: A part has no samples of them.
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
    """Return a stream of the same samples, in each experience with their numbers in another order.

    The first experience is shuffled too (Goodfellow et al., "An empirical investigation of
    catastrophic forgetting in gradient-based neural networks", 2013).

    Args:
        data: Inputs ``(n, ...)``, one tensor.
        count: Of experiences.
        seed: Of the orders.

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
    """Return a stream of data sets of one kind, such as genres of a text."""
    return Stream(name, tuple(Experience(each.name, each) for each in data))


def _one_tensor(data: Data) -> Tensor:
    inputs, targets = data.train.batch(torch.arange(1))
    if not isinstance(inputs, Tensor):
        raise UserError(f"the inputs of {data.name} are not one tensor: its numbers cannot move")
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
    """Return all experiences' samples as one data set: the upper control's.

    Raises:
        UserError: Their targets can't be put together.
    """
    first = stream.experiences[0].data

    def joined(part: str) -> Split:
        found = [each.data.parts[part] for each in stream.experiences]
        every = [each.batch(slice(0, len(each))) for each in found]
        inputs, targets = zip(*every, strict=True)
        return Split(joined_rows(inputs), joined_rows(targets))

    return Data(first.name, joined("train"), joined("validation"), joined("test"), first.classes)


def joined_rows(batches: Sequence[object]) -> object:
    """Return batches of one form one behind another."""
    others = [iter(leaves(each)) for each in batches[1:]]
    return replaced(batches[0], lambda x: torch.cat([x, *(next(each) for each in others)]))
