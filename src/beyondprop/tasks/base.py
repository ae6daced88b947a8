"""The definition of a task: data, a model, a loss and a metric, with the defaults of a run."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from functools import partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop.errors import UserError, shown
from beyondprop.registry import Spec
from beyondprop.rules import CRITERIA, Classes, Criterion
from beyondprop.tasks.folders import ImageFolder, classes_in
from beyondprop.tasks.kinds import convnet, mlp, scoring
from beyondprop.tasks.metrics import Metric, accuracy
from beyondprop.tasks.optimizers import ADAM
from beyondprop.tasks.samples import Data
from beyondprop.tasks.tables import Table

Contrast = tuple[Any, Any]
"""The arguments of a model (see `calling`), and the corresponding targets."""


@dataclass(frozen=True)
class Task:
    """A data set, a model, a loss and a metric, with the defaults of a run.

    Attributes:
        name: Short name, also used for folders: letters, digits, ".", "_" and "-".
        summary: One line for lists.
        load: Returns the data; its argument is an explicit data folder or None.
        model: Builds a new model with torch's global generator. The model is called with a batch's
            inputs: with a tensor, ``model(x)``; with a tuple or list, ``model(*x)``; with a
            mapping, ``model(**x)``.
        loss: (outputs, targets) to a scalar.
        metric: (outputs, targets) to the mean score, higher is better.
        metric_name: The metric's name in tables.
        blocks: Names or patterns of the model's blocks, a tuple of names for one block of several
            modules; None for the default of `attach`.
        output: Name of the module at whose output rules take the error; None for the model's own.
            See `attach`.
        axes: Meaning of the axes of the blocks' outputs, if the layers do not determine it; see
            `attach`.
        epochs: Passes over the training split.
        batch_size: Samples per step.
        learning_rate: Learning rate at the start of a run; it falls linearly to zero.
        optimizer: (parameters, learning rate) to an optimizer; Adam by default.
        optimizers: Names of optimizers that a comparison tries for every rule, instead of that one;
            see `beyondprop.tasks.OPTIMIZERS`.
        augment: Training inputs to changed inputs of the same kind, with PyTorch's global
            generator; applied to every training batch, never when scoring. None changes nothing.
        contrast: (inputs, targets) of a training batch to the arguments of the model and the
            corresponding targets, with PyTorch's global generator: for rules that learn from right
            and wrong answers, it creates the wrong ones. None calls the model with the inputs.
        split: (data, seed) to the data of a run with this seed, for example with other training
            samples each time; the same for every rule. None uses the same data for every seed.
        features: (inputs) to the features of the linear control, ``(n, ...)`` real numbers, if the
            inputs are of another kind, such as class numbers or a graph. None uses the inputs.

    Raises:
        UserError: Lists every invalid field.
    """

    name: str
    summary: str
    load: Callable[[Path | None], Data]
    model: Callable[[], nn.Module]
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy
    metric: Metric = accuracy
    metric_name: str = "accuracy"
    blocks: Sequence[str | Sequence[str]] | None = None
    output: str | None = None
    axes: str | Mapping[str, str] | None = None
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Callable[[Iterable[Parameter], float], Optimizer] = ADAM
    optimizers: Sequence[Spec] = ()
    augment: Callable[[Any], Any] | None = None
    contrast: Callable[[Any, Any], Contrast] | None = None
    split: Callable[[Data, int], Data] | None = None
    features: Callable[[Any], Tensor] | None = None

    def __post_init__(self) -> None:
        optional = [field for field in OPTIONAL if getattr(self, field) is not None]
        problems = [
            f"{field} must be callable"
            for field in ("load", "model", "loss", "metric", "optimizer", *optional)
            if not callable(getattr(self, field))
        ]
        problems += [
            f"{field} must be a whole number > 0"
            for field in ("epochs", "batch_size")
            if not _is_count(getattr(self, field))
        ]
        if isinstance(self.model, nn.Module):  # callable too, but every run needs a fresh one
            problems.append("model must be a function that builds the model, not a built model")
        if not re.fullmatch(r"[\w-][\w.-]*", self.name):
            problems.append("name may hold letters, digits, '.', '_' and '-' only")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            problems.append("learning_rate must be a finite number > 0")
        if isinstance(self.blocks, str):  # a string is a sequence of one-letter strings
            problems.append(f"blocks must be a list of names: [{self.blocks!r}]")
        if problems:
            raise UserError(f"task {self.name!r}: {'; '.join(problems)}")

    @classmethod
    def from_csv(
        cls,
        path: Path | str,
        target: str | Sequence[str] = (),
        *,
        kind: Criterion | str | None = None,
        separator: str | None = None,
        ignore: Sequence[str] = (),
        categories: Sequence[str] = (),
        delimiter: str = ",",
        validation: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        protected: Sequence[str] = (),
        **fields: Any,
    ) -> "Task":
        """Return a task of a CSV file; its summary says how the columns were interpreted.

        Columns of numbers are standardised by the training rows; all others are one-hot. A missing
        number (an empty cell, "?", "NA", "NaN", "null", "none") becomes the mean, and an additional
        column marks it; a missing text (an empty cell, "?") is one of the categories. Rows without
        a target are left out. A column that is almost numbers is refused: more than half of its
        cells are numbers, or all texts in it are the same.

        Args:
            path: The file, which may be compressed by gzip. Its first line names the columns.
            target: The column to predict, or several. Without one, the error message lists the
                file's columns.
            kind: Kind of the targets: `Classes`, `Labels` or `Values` (regression, standardised),
                or "classes", "labels" or "values" as in a spec. By default several columns of 0 and
                1, or a separator, are labels; texts, and whole numbers with at most 20 different
                values, are classes; other numbers are values.
            separator: Separator of the labels in a cell, such as ";".
            ignore: Columns to leave out.
            categories: Columns whose numbers are categories.
            delimiter: Delimiter of columns.
            validation: Share of the rows for validation, the same for each class.
            test: Share of the rows for the test.
            seed: Seed of the split into three parts.
            protected: Columns with protected attributes, such as "gender", whose values define the
                groups that the audit compares. They are inputs too, unless `ignore` names them. A
                missing value is a separate group, "?".
            fields: Fields of the task that replace its defaults: ``model``, ``epochs``, ...

        Raises:
            UserError: The file cannot be read, lacks a column, or has nothing to predict; a column
                of numbers holds a text, or a whole number that a float cannot store; a protected
                column is the target, or has only one value or more than 50.
        """
        chosen = (target,) if isinstance(target, str) else target
        if chosen != () and not _are_names(chosen):
            raise UserError(f"target must be a name of a column, or several, not {shown(target)}")
        if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '\r\n"':
            raise UserError(f'delimiter must be one character, such as ";", not {shown(delimiter)}')
        table = Table(
            path=Path(path),
            target=tuple(chosen),
            kind=None if kind is None else CRITERIA.make(kind),
            separator=separator,
            ignore=_names("ignore", ignore),
            categories=_names("categories", categories),
            delimiter=delimiter,
            shares=(validation, test),
            seed=seed,
            protected=_names("protected", protected),
        )
        data, found = table.made()
        own: dict[str, Any] = {
            "name": name_of(table.path),
            "summary": found.summary(table),
            "load": table,
            "model": partial(mlp, found.inputs, found.outputs),
            "batch_size": 32 if len(data.train) < SMALL else 128,
        }
        return cls(**own | scoring(found.kind) | known_fields(fields))

    @classmethod
    def from_folder(
        cls,
        path: Path | str,
        size: int = 32,
        *,
        grey: bool = False,
        validation: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        **fields: Any,
    ) -> "Task":
        """Return a task of images: a folder that contains a folder of images for each class.

        If it contains folders ``train``, ``val`` and ``test``, these are the splits, and each of
        them contains the classes' folders; a missing split is drawn from the training images.
        Images are resized, and standardised by the training images.

        Args:
            path: The folder.
            size: Height and width of the images in pixels, at least 8.
            grey: Whether images are read without colours.
            validation: Share of the images for validation, the same for each class.
            test: Share of the images for the test.
            seed: Seed of that split.
            fields: Fields of the task that replace its defaults: ``model``, ``augment``,
                ``epochs``, ...

        Raises:
            UserError: There is no such folder, or it has fewer than two classes.
        """
        if not _is_count(size) or size < 8:
            raise UserError(f"images need a size of at least 8 pixels, not {size}")
        folder = ImageFolder(Path(path), size, 1 if grey else 3, (validation, test), seed)
        classes = classes_in(folder.path)
        own: dict[str, Any] = {
            "name": name_of(folder.path.resolve()),
            "summary": f"images of {folder.path.name} at {size} x {size} pixels, one of "
            f"{len(classes)} classes",
            "load": folder,
            "model": partial(convnet, folder.channels, size, len(classes)),
            "batch_size": 32,
        }
        return cls(**own | scoring(Classes()) | known_fields(fields))


OPTIONAL = ("augment", "contrast", "split", "features")
"""Fields of a task that are functions or None."""

SMALL = 2000
"""Number of training rows of a table below which batches are smaller."""


def _names(field: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):  # a string is a sequence of one-letter strings
        raise UserError(f"{field} must be a list of names: [{names!r}]")
    return tuple(names)


def _are_names(names: object) -> bool:
    names = list(names) if isinstance(names, Sequence) else []
    return bool(names) and all(isinstance(each, str) for each in names)


def name_of(path: Path) -> str:
    """Return a file's name without its suffixes, as a task's name."""
    name = path.name.partition(".")[0] or "data"
    return re.sub(r"[^\w.-]", "-", name).lstrip("-.") or "data"


def known_fields(given: dict[str, Any]) -> dict[str, Any]:
    """Return the given fields after checking that a task has them.

    Raises:
        UserError: A task has no such field.
    """
    known = {each.name for each in fields_of(Task)}
    if unknown := sorted(given.keys() - known):
        raise UserError(f"a task has no {unknown[0]}; it has {', '.join(sorted(known))}")
    return given


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
