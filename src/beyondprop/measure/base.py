"""What a measure is: what it looks at, what it finds, and how tables show that."""

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
"""Does one whole training step: gradients cleared, forward, loss, backward, weights updated."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Subject:
    """What a measure looks at. Every field may be absent: a measure's traits say what it needs.

    Attributes:
        handle: What `attach` returned.
        model: The model; the one that the handle is of, unless nothing is attached to it.
        inputs: Those of one batch, on the model's device; see `tasks.call`.
        targets: Its targets.
        loss: (outputs, targets) to a scalar.
        metric: (outputs, targets) to the mean score.
        train: Samples that a classifier is fitted to.
        held_out: Samples that nothing is fitted to.
        classes: Names of the classes, where targets are class numbers.
        views: Whole views that nothing is fitted to, where samples are rays.
        step: Builds a fresh model and returns its training step, see `rule_step`.
        plain_step: The same with nothing attached, in plain PyTorch.
        device: Where the steps compute.
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
    """A figure as tables show it.

    Attributes:
        key: Of the figure in `Figures` and in the rows of records.
        label: The heading.
        meaning: What the figure is, to follow on the label in a legend.
        form: A format of Python's for the number.
        unit: What follows the number; a figure in "s" or "bytes" is written in a unit that suits.
        cost: Whether the figure is a cost relative to plain PyTorch backprop: less is better.
        beside: Values written small next to this one.
    """

    key: str
    label: str
    meaning: str = ""
    form: str = ".2f"
    unit: str = ""
    cost: bool = False
    beside: tuple["Column", ...] = ()

    def text(self, value: Any) -> str:
        """Return a figure as it is written: a number, yes or no, or a dash where there is none."""
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
            TypeError: They are not those of a column.
            ValueError: The form is none of a number's.
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
    """What records say of a measure, so that they can be read where the measure is not installed.

    Attributes:
        name: Its short name.
        title: A heading.
        about: What it tells, for readers who never saw it.
        columns: Figures of the model.
        block_columns: Figures of each block, the first one the most telling.
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
            TypeError: They are not those of a description.
            ValueError: A column's form is none of a number's.
        """
        columns = {
            name: tuple(Column.read(each) for each in values.get(name, ()))
            for name in ("columns", "block_columns")
        }
        return cls(str(values["name"]), str(values["title"]), str(values["about"]), **columns)


@dataclass(frozen=True)
class Figures:
    """What a measure found, as JSON values.

    Attributes:
        values: Key to a figure of the model: a number, yes or no, a range of two, None for none.
        blocks: Key to the figures of the blocks, by their names in their order.
        notes: Block to what must be said of it: a word or two, a colon, and the explanation.
        words: The finding in a sentence or a few; empty where the figures say all.
        details: What a record keeps besides.
        failure: Why there are no figures; empty where there are.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    blocks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    words: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""

    def json(self) -> dict[str, Any]:
        """Return what is not empty."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Figures":
        """Return figures from the JSON values of a record; what is not theirs is left out.

        Raises:
            AttributeError: They are not those of figures.
            TypeError: They are not those of figures.
            ValueError: They are not those of figures.
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
    """What experiments and tests must know of a measure.

    Attributes:
        needs: The fields of `Subject` that it looks at.
        each_epoch: Whether it is cheap, and its figures change as training goes on.
        before_training: Whether it tells of the rule and the network, whatever the weights.
        repeats: Whether it finds the same to the bit when it is run again.
        fresh_process: Whether it starts its own process.
    """

    needs: frozenset[str]
    each_epoch: bool = False
    before_training: bool = False
    repeats: bool = True
    fresh_process: bool = False


class Measure(ABC):
    """What training cost, or what it bought. It leaves what it looks at as it was found.

    One method is required, `run`. Lists show the first line of the docstring.

    Attributes:
        name: Short name, also the key in records.
        title: A heading.
        about: What it tells, for readers who never saw it.
        traits: What it needs, and when it can be taken.
        columns: How its figures of the model are shown.
        block_columns: How its figures of the blocks are shown, the most telling first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    traits: ClassVar[MeasureTraits]
    columns: ClassVar[tuple[Column, ...]] = ()
    block_columns: ClassVar[tuple[Column, ...]] = ()

    @abstractmethod
    def run(self, subject: Subject) -> Figures:
        """Return what is found.

        Raises:
            UserError: The subject lacks something, or cannot be measured.
        """

    def run_together(self, subjects: Sequence[Subject]) -> list[Figures]:
        """Return what is found of several subjects, which may take turns with one another."""
        return [self.run(subject) for subject in subjects]

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:  # noqa: ARG002
        """Yield a sentence for each figure that is not the known answer for this subject."""
        yield from ()

    def lacking(self, subject: Subject) -> list[str]:
        """Return the fields that the measure needs and the subject lacks."""
        needed = {name: getattr(subject, name) for name in sorted(self.traits.needs)}
        return [n for n, value in needed.items() if value is None or value == ()]

    def description(self) -> Description:
        """Return what records say of the measure."""
        return Description(self.name, self.title, self.about, self.columns, self.block_columns)


def check(measure: Measure) -> None:
    """Check a measure's declarations before anything is trained.

    Raises:
        UserError: It does not.
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
                    f"'{column.form}', which is none of a number's"
                ) from error


def given(value: T | None, what: str) -> T:
    """Return a field of a subject that a measure cannot do without.

    Raises:
        UserError: It is None.
    """
    if value is None:
        raise UserError(f"this measure needs a subject with {what}")
    return value


def model_of(subject: Subject) -> nn.Module:
    """Return the model, whether something is attached to it or not.

    Raises:
        UserError: There is none.
    """
    return given(subject.handle, "a model").model if subject.model is None else subject.model
