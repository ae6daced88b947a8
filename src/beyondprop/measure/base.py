"""The interface of a measure: its subject, its figures, and how tables show them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.tasks import Metric, Samples, Views

ABSENT = "–"

Step = Callable[[], None]
"""Performs one complete training step: clear gradients, forward, loss, backward, update."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Subject:
    """The subject of a measurement. Every field is optional: a measure's traits declare what it
    needs.

    Attributes:
        handle: The result of `attach`.
        model: The model; by default the model of the handle.
        inputs: Inputs of one batch, on the model's device; see `tasks.call`.
        targets: Targets of the batch.
        loss: (outputs, targets) to a scalar.
        metric: (outputs, targets) to the mean score.
        train: Samples for fitting a classifier.
        held_out: Samples that nothing is fitted to.
        classes: Names of the classes, if targets are class numbers.
        views: Complete views that nothing is fitted to, if samples are rays.
        step: Builds a new model and returns its training step, see `rule_step`.
        plain_step: The same with nothing attached, in plain PyTorch.
        device: Device of the steps.
    """

    handle: Attachment | None = None
    model: nn.Module | None = None
    inputs: Any = None
    targets: Any = None
    loss: Callable[[Any, Any], Tensor] | None = None
    metric: Metric | None = None
    train: Samples | None = None
    held_out: Samples | None = None
    classes: Sequence[str] | None = None
    views: Views | None = None
    step: Callable[[], Step] | None = None
    plain_step: Callable[[], Step] | None = None
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Column:
    """The display of a figure in tables.

    Attributes:
        key: Key of the figure in `Figures` and in the rows of records.
        label: The heading.
        meaning: What the figure is; follows the label in a legend.
        form: A Python format for the number.
        unit: Follows the number; a figure in "s" or "bytes" is shown with a suitable prefix.
        cost: Whether the figure is a cost relative to plain PyTorch backprop: less is better.
        beside: Values in small print next to this one.
    """

    key: str
    label: str
    meaning: str = ""
    form: str = ".2f"
    unit: str = ""
    cost: bool = False
    beside: tuple["Column", ...] = ()

    def text(self, value: Any) -> str:
        """Return a figure as text: a number, yes or no, or a dash if there is none."""
        if value is None:
            return ABSENT
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int | float):
            return f"{value:{self.form}}{self.unit}"
        return str(value)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Column":
        """Return a column from the JSON values of a record.

        Raises:
            TypeError: The values are not those of a column.
            ValueError: The form is not a number format.
        """
        inner = tuple(cls.read(each) for each in values.get("beside", ()))
        texts = ("key", "label", "meaning", "form", "unit")
        if wrong := [name for name in texts if not isinstance(values.get(name, ""), str)]:
            raise TypeError(f"a column's {wrong[0]} is not text")
        column = cls(**{**values, "beside": inner})
        column.text(0.5)
        return column


@dataclass(frozen=True)
class Description:
    """The description of a measure in records, so that they can be read without the measure.

    Attributes:
        name: Its short name.
        title: A heading.
        about: Explains the measure to readers who do not know it.
        columns: Figures of the model.
        block_columns: Figures of each block, the most informative one first.
    """

    name: str
    title: str
    about: str
    columns: tuple[Column, ...] = ()
    block_columns: tuple[Column, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Description":
        """Return a description from the JSON values of a record.

        Raises:
            KeyError: A value is missing.
            TypeError: The values are not those of a description.
            ValueError: A column's form is not a number format.
        """
        columns = {
            name: tuple(Column.read(each) for each in values.get(name, ()))
            for name in ("columns", "block_columns")
        }
        return cls(str(values["name"]), str(values["title"]), str(values["about"]), **columns)


@dataclass(frozen=True)
class Figures:
    """The result of a measure, as JSON values.

    Attributes:
        values: Key to a figure of the model: a number, yes or no, a range of two, None for none.
        blocks: Key to the figures of the blocks, by block name in order.
        notes: Notes by block: a word or two, a colon, and the explanation.
        words: The result in a few sentences; empty if the figures suffice.
        details: Additional data for the record.
        failure: Why there are no figures; empty if there are.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    blocks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    words: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""

    def json(self) -> dict[str, Any]:
        """Return all fields that are not empty."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Figures":
        """Return figures from the JSON values of a record; unknown values are ignored.

        Raises:
            AttributeError: The values are not those of figures.
            TypeError: The values are not those of figures.
            ValueError: The values are not those of figures.
        """
        blocks = {key: dict(each) for key, each in (values.get("blocks") or {}).items()}
        return cls(
            values=dict(values.get("values") or {}),
            blocks=blocks,
            notes={str(k): str(v) for k, v in (values.get("notes") or {}).items()},
            words=str(values.get("words") or ""),
            details=dict(values.get("details") or {}),
            failure=str(values.get("failure") or ""),
        )


@dataclass(frozen=True)
class MeasureTraits:
    """Properties of a measure that experiments and tests need.

    Attributes:
        needs: The fields of `Subject` that it uses.
        each_epoch: Whether it is cheap, and its figures change during training.
        before_training: Whether it describes the rule and the network, whatever the weights.
        repeats: Whether it returns bitwise identical figures when it runs again.
        fresh_process: Whether it starts its own process.
    """

    needs: frozenset[str]
    each_epoch: bool = False
    before_training: bool = False
    repeats: bool = True
    fresh_process: bool = False


class Measure(ABC):
    """Measures what training cost, or what it bought, and leaves its subject unchanged.

    Only `run` is required. Lists show the first line of the docstring.

    Attributes:
        name: Short name, also the key in records.
        title: A heading.
        about: Explains the measure to readers who do not know it.
        traits: What it needs, and when it can run.
        columns: How its figures of the model are shown.
        block_columns: How its figures of the blocks are shown, the most informative one first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    traits: ClassVar[MeasureTraits]
    columns: ClassVar[tuple[Column, ...]] = ()
    block_columns: ClassVar[tuple[Column, ...]] = ()

    @abstractmethod
    def run(self, subject: Subject) -> Figures:
        """Return the figures of a subject.

        Raises:
            UserError: The subject lacks a field, or cannot be measured.
        """

    def run_together(self, subjects: Sequence[Subject]) -> list[Figures]:
        """Return the figures of several subjects, whose measurements may be interleaved."""
        return [self.run(subject) for subject in subjects]

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:  # noqa: ARG002
        """Yield a sentence for each figure that is not the known answer for this subject."""
        yield from ()

    def lacking(self, subject: Subject) -> list[str]:
        """Return the fields that the measure needs and the subject lacks."""
        needed = {name: getattr(subject, name) for name in sorted(self.traits.needs)}
        return [n for n, value in needed.items() if value is None or value == ()]

    def description(self) -> Description:
        """Return the description of the measure for records."""
        return Description(self.name, self.title, self.about, self.columns, self.block_columns)


def check(measure: Measure) -> None:
    """Check a measure's declarations before anything is trained.

    Raises:
        UserError: A declaration is missing or wrong.
    """
    called = type(measure).__name__
    for attribute in ("name", "title", "about"):
        if not isinstance(getattr(measure, attribute, None), str):
            raise UserError(f"the measure {called} needs a text as its `{attribute}`")
    if not isinstance(getattr(measure, "traits", None), MeasureTraits):
        raise UserError(f"the measure {called} needs `traits = MeasureTraits(needs=...)`")
    known = {each.name for each in fields(Subject)}
    if not measure.traits.needs <= known:
        unknown = ", ".join(sorted(measure.traits.needs - known))
        raise UserError(
            f"the measure {called} needs {unknown}, which no subject has; there are "
            f"{', '.join(sorted(known))}"
        )
    for attribute in ("columns", "block_columns"):
        columns = getattr(measure, attribute)
        if isinstance(columns, str) or not all(isinstance(each, Column) for each in columns):
            raise UserError(f"the measure {called} needs a tuple of Column as its `{attribute}`")
        for column in columns:
            try:
                column.text(0.5)
            except ValueError as error:
                raise UserError(
                    f"the measure {called} gives its column '{column.key}' the form "
                    f"'{column.form}', which is not a number format"
                ) from error


def given(value: T | None, what: str) -> T:
    """Return a field of a subject that a measure requires.

    Raises:
        UserError: It is None.
    """
    if value is None:
        raise UserError(f"this measure needs a subject with {what}")
    return value


def model_of(subject: Subject) -> nn.Module:
    """Return the model, whether a rule is attached to it or not.

    Raises:
        UserError: The subject has no model.
    """
    return given(subject.handle, "a model").model if subject.model is None else subject.model
