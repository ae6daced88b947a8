"""Samples of a data set, in memory or read when a batch needs them, and their three splits.

Samples are read as batches of rows. A batch is inputs and targets; each of them is a tensor, or
tensors in tuples, lists, mappings and dataclasses.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from beyondprop._torch.pytrees import leaves, others, replaced
from beyondprop.errors import FAULTS, UserError, one_line

Rows = Tensor | slice
"""Selected samples: their numbers, ``(batch,)`` int64 on the CPU, or a slice."""

LABELS = ("labels", "label")
"""Keys under which a sample that is a mapping stores its target."""


class Samples(ABC):
    """Samples of a data set. They are only read through `batch`."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the batches."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, rows: Rows) -> tuple[Any, Any]:
        """Return the inputs and the targets of these samples."""

    @abstractmethod
    def some(self, rows: Tensor) -> "Samples":
        """Return only these samples."""

    @abstractmethod
    def to(self, device: torch.device | str) -> "Samples":
        """Return the same samples with batches on a device."""

    def batches(self, size: int) -> Iterator[tuple[Any, Any]]:
        """Yield all samples in order, in batches of `size`; the last batch may be smaller."""
        for begin in range(0, len(self), size):
            yield self.batch(slice(begin, min(begin + size, len(self))))


@dataclass(frozen=True)
class Split(Samples):
    """Samples in memory.

    Attributes:
        inputs: ``(n, ...)``, or tensors of n rows each in tuples, lists, mappings or dataclasses:
            the arguments of the model by position or by name.
        targets: Classes ``(n,)`` int64, labels ``(n, k)`` bool, values ``(n, ...)`` float, or
            several such tensors.
        notes: Additional data of each sample, by name, ``(n, ...)`` each: measures may read it, but
            no model receives it.

    Raises:
        UserError: There are no samples, the tensors differ in their numbers of rows, or a value is
            not a tensor.
    """

    inputs: Any
    targets: Any
    notes: Mapping[str, Tensor] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in ("inputs", "targets", "notes"):
            value = getattr(self, name)
            if found := [each for each in others(value) if each is not None]:
                raise UserError(
                    f"the {name} of a split must be tensors, not a {type(found[0]).__name__}: "
                    "use torch.as_tensor, or from_dataset for samples of different shapes"
                )
        found = [*leaves(self.inputs), *leaves(self.targets), *leaves(self.notes)]
        if len({each.shape[:1] for each in found}) > 1 or any(not each.dim() for each in found):
            shapes = " and ".join(str(tuple(each.shape)) for each in found)
            raise UserError(f"inputs and targets need the same first dimension, got {shapes}")
        if not (next(leaves(self.inputs), None) is not None and len(found[0])):
            got = tuple(found[0].shape) if found else type(self.inputs).__name__
            raise UserError(f"a split needs samples, got inputs {got}")

    @property
    def device(self) -> torch.device:
        """Device of the first tensor."""
        return next(leaves(self.inputs)).device

    def __len__(self) -> int:
        return len(next(leaves(self.inputs)))

    def batch(self, rows: Rows) -> tuple[Any, Any]:
        """Return the inputs and targets of these rows; a slice is not copied."""
        return replaced(self.inputs, lambda x: x[rows]), replaced(self.targets, lambda x: x[rows])

    def some(self, rows: Tensor) -> "Split":
        """Return only these rows."""
        return Split(*self.batch(rows), replaced(self.notes, lambda x: x[rows]))

    def to(self, device: torch.device | str) -> "Split":
        """Return the samples on a device."""
        return Split(*(moved(each, device) for each in (self.inputs, self.targets, self.notes)))


@dataclass(frozen=True, eq=False)
class DatasetSplit(Samples):
    """Samples of a map-style dataset, read when a batch needs them; see `from_dataset`.

    Attributes:
        dataset: Returns a sample for each number from 0.
        collate: A list of samples to a batch: inputs and targets, or a mapping that contains the
            targets as "labels" or "label". It may pad texts of different lengths.
        where: The device of the batches.
    """

    dataset: Any
    collate: Callable[[list[Any]], Any] = default_collate
    where: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if not (hasattr(self.dataset, "__getitem__") and hasattr(self.dataset, "__len__")):
            raise UserError(
                f"a dataset needs __len__ and __getitem__, but a {type(self.dataset).__name__} "
                "lacks them: read its samples into a list"
            )
        if not len(self):
            raise UserError("a split needs samples, but the dataset has none")

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return torch.device(self.where)

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, rows: Rows) -> tuple[Any, Any]:
        """Return the inputs and targets that `collate` creates from these samples.

        Raises:
            UserError: A sample cannot be read, or the samples cannot be collated to inputs and
                targets.
        """
        numbers = rows.tolist() if isinstance(rows, Tensor) else range(*rows.indices(len(self)))
        inputs, targets = in_two(self._collated(self._read(list(numbers))))
        if found := [each for each in others(inputs) if isinstance(each, (str, bytes))]:
            raise UserError(
                f"a batch of the dataset holds a {type(found[0]).__name__}, which is not a tensor: "
                "give from_dataset a collate= that makes tensors from a list of samples"
            )
        return moved(inputs, self.where), moved(targets, self.where)

    def some(self, rows: Tensor) -> "DatasetSplit":
        """Return only these samples."""
        return replace(self, dataset=Subset(self.dataset, rows.tolist()))

    def to(self, device: torch.device | str) -> "DatasetSplit":
        """Return the same samples with batches on a device."""
        return replace(self, where=device)

    def _read(self, numbers: list[int]) -> list[Any]:
        together = getattr(self.dataset, "__getitems__", None)
        try:
            if callable(together):
                return list(together(numbers))
            return [self.dataset[number] for number in numbers]
        except UserError:
            raise
        except FAULTS as error:  # the user's dataset may raise anything
            raise UserError(
                f"reading samples {numbers[0]} to {numbers[-1]} of the dataset failed: "
                f"{one_line(error)}"
            ) from error

    def _collated(self, samples: list[Any]) -> Any:
        if self.collate is default_collate and _has_numbers(samples[0]):
            raise UserError(
                "a sample of the dataset holds a list of numbers, from which PyTorch's collate "
                "makes a tensor for each position: let the dataset return tensors, or give "
                "from_dataset a collate="
            )
        try:
            return self.collate(samples)
        except UserError:
            raise
        except FAULTS as error:  # usually samples of different lengths
            own = self.collate is not default_collate
            help_ = "correct the collate=" if own else "give from_dataset a collate= that pads them"
            raise UserError(
                f"{len(samples)} samples of the dataset cannot be collated ({one_line(error)}): "
                f"{help_}"
            ) from error


def from_dataset(
    source: Dataset[Any] | DataLoader[Any] | Sequence[Any],
    collate: Callable[[list[Any]], Any] | None = None,
) -> DatasetSplit:
    """Return the samples of a `torch.utils.data` dataset or loader, or of a list of samples.

    A sample is inputs and a target, or a mapping that contains the target as "labels" or "label".
    For a loader its dataset and ``collate_fn`` are used. The order comes from the seed of a run,
    and the batch size from the task, so that they are the same for every rule.

    Args:
        source: A map-style dataset, a loader of one, or a sequence.
        collate: A list of samples to a batch; by default the loader's, otherwise PyTorch's.

    Raises:
        UserError: The samples have no indices, or the loader has its own order.
    """
    if isinstance(source, DataLoader):
        _check_order(source)
        return DatasetSplit(source.dataset, collate or source.collate_fn)
    if isinstance(source, IterableDataset):
        raise _no_numbers()
    return DatasetSplit(source, collate or default_collate)


def in_two(batch: Any) -> tuple[Any, Any]:
    """Return the inputs and the targets of a collated batch.

    Raises:
        UserError: The targets cannot be identified.
    """
    if isinstance(batch, Mapping):
        found = [name for name in LABELS if name in batch]
        if len(found) == 1 and len(batch) > 1:
            kept = {name: each for name, each in batch.items() if name != found[0]}
            return kept, batch[found[0]]
        what = f"a mapping of {', '.join(map(str, batch))}"
    elif isinstance(batch, (tuple, list)):
        if len(batch) == 2:
            return batch[0], batch[1]
        what = f"a {type(batch).__name__} of {len(batch)}"
    else:
        what = f"a {type(batch).__name__}"
    raise UserError(
        f"a batch of the dataset is {what}, so its targets cannot be distinguished from its "
        "inputs: give from_dataset a collate= that returns (inputs, targets)"
    )


def _has_numbers(sample: Any) -> bool:
    """Whether the inputs of a sample contain a list of plain numbers."""
    if isinstance(sample, (tuple, list)):
        return len(sample) == 2 and _is_list_of_numbers(sample[0])
    if isinstance(sample, Mapping):
        return any(map(_is_list_of_numbers, sample.values()))
    return False


def _is_list_of_numbers(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, (int, float)) for each in value)


def moved(value: Any, device: torch.device | str) -> Any:
    """Return tensors, and other objects with a method `to`, on a device."""
    if callable(getattr(value, "to", None)):  # tensors, packed sequences, batches of graphs
        return value.to(device)
    if type(value) is dict:
        return {name: moved(each, device) for name, each in value.items()}
    if type(value) in (tuple, list):
        return type(value)(moved(each, device) for each in value)
    return replaced(value, lambda x: x.to(device))


def _check_order(loader: DataLoader[Any]) -> None:
    """Raise if a loader has its own order, which the seed of a run cannot replace.

    Raises:
        UserError: It has its own order.
    """
    if isinstance(loader.dataset, IterableDataset):
        raise _no_numbers()
    sampler: Any = loader.sampler
    drawn = type(sampler) is RandomSampler and not sampler.replacement
    whole = drawn and len(sampler) == len(sampler.data_source)
    if not (whole or type(sampler) is SequentialSampler):
        raise UserError(
            "the loader has its own sampler, but the order of a run comes from its seed: leave the "
            "sampler out, or give from_dataset a torch.utils.data.Subset of the samples"
        )
    if loader.batch_size is None or type(loader.batch_sampler) is not BatchSampler:
        raise UserError(
            "the loader makes its own batches, but the batches of a run come from its seed and the "
            "task's batch_size: leave the batch_sampler out, or give from_dataset the dataset"
        )


def _no_numbers() -> UserError:
    return UserError(
        "an IterableDataset has no indices from which a run's seed can draw: read its samples into "
        "a list and pass from_dataset(list)"
    )


@dataclass(frozen=True)
class Data:
    """A data set in three splits.

    Attributes:
        name: Display name, such as "scikit-learn digits".
        train: Samples for fitting the parameters.
        validation: Samples for choices (learning rate, rule).
        test: Samples for the final score, used once.
        classes: Names of the classes in order; empty for tasks other than classification.
        protected: Protected attributes, such as a person's gender: the name of a note of the
            samples, whose values ``(n,)`` int64 are group numbers, to the names of the groups in
            order.

    Raises:
        UserError: A split is not `Samples`, the splits' inputs differ in shape, a target is not one
            of the classes, or a note's value is not one of the groups.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    classes: tuple[str, ...] = ()
    protected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, samples in self.parts.items():
            given: object = samples
            if not isinstance(given, Samples):
                raise UserError(
                    f"{self.name}: {part} is a {type(given).__name__}: give "
                    "Split(inputs, targets) of tensors, or from_dataset(dataset or loader)"
                )
        for part, samples in self.parts.items():
            self._check_shapes(part, samples)
        for part, samples in self.parts.items():
            if self.classes and isinstance(samples, Split):
                self._check_classes(part, samples.targets)
            if isinstance(samples, Split):
                self._check_groups(part, samples.notes)

    @property
    def parts(self) -> dict[str, Samples]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def mapped(self, function: Callable[[Samples], Samples]) -> "Data":
        """Return the data with each split transformed by a function."""
        train, validation, test = map(function, self.parts.values())
        return replace(self, train=train, validation=validation, test=test)

    def _check_shapes(self, part: str, samples: Samples) -> None:
        if not (isinstance(samples, Split) and isinstance(self.train, Split)):
            return  # batches of one part may differ already
        found, wanted = (
            [tuple(each.shape[1:]) for each in leaves(split.inputs)]
            for split in (samples, self.train)
        )
        if found != wanted:
            raise UserError(
                f"{self.name}: a {part} input has shape {_listed(found)}, "
                f"a training input {_listed(wanted)}"
            )

    def _check_classes(self, part: str, targets: Any) -> None:
        if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.ndim != 1:
            got = f"{tuple(targets.shape)} {targets.dtype}" if isinstance(targets, Tensor) else ""
            raise UserError(
                f"{self.name}: with classes, {part} targets must be (n,) int64, "
                f"got {got or type(targets).__name__}"
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= len(self.classes):
            raise UserError(
                f"{self.name}: {part} targets run from {low} to {high}, "
                f"but there are {len(self.classes)} classes"
            )

    def _check_groups(self, part: str, notes: Mapping[str, Tensor]) -> None:
        """Check the values of the notes that a split has; a function may have replaced the
        split.
        """
        for name, groups in self.protected.items():
            if name not in notes:
                continue
            values = notes[name]
            if values.dtype != torch.int64 or values.ndim != 1:
                raise UserError(
                    f"{self.name}: {part} notes {name!r} must be numbers of groups, (n,) int64, "
                    f"got {tuple(values.shape)} {values.dtype}"
                )
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= len(groups):
                raise UserError(
                    f"{self.name}: {part} notes {name!r} run from {low} to {high}, "
                    f"but there are {len(groups)} groups"
                )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
