"""A model with a batch, and the arguments for attaching a rule to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.core import Rule


@dataclass(frozen=True)
class Batch:
    """The inputs of a model's call, and its targets.

    Attributes:
        inputs: Arguments of the model's call.
        targets: The targets of the loss; None if they are an argument.
    """

    inputs: Mapping[str, Any]
    targets: Tensor | None = None


@dataclass(frozen=True)
class Name:
    """A word of a call that is shown without quotes."""

    word: str

    def __repr__(self) -> str:
        return self.word


@dataclass(frozen=True)
class Case:
    """A model with a batch, and the arguments for attaching a rule to it.

    Attributes:
        name: The name in the table.
        kind: The kind of model.
        build: Builds the model, small and untrained.
        batch: Builds a batch.
        blocks: Patterns of the hidden blocks.
        heads: Patterns of the modules that make the output; they keep their exact gradient.
        loss: Computes the loss from the model's result and the targets; None if the model does.
        output: The module whose output carries the error, if it isn't the model's own.
        targets: The argument of the call that holds the targets.
        axes: The meaning of the axes of blocks and of the output, if no layer decides it.
        samples: The argument of the call that holds the sample of each node.
        classes: The number of classes for local losses, if the last layer doesn't show it.
        exact: Parameters outside all layers, which rules of layers and slots leave unchanged.
        part: The part of the model that is taught; the names above are relative to it.
        package: The package that contains the model.
    """

    name: str
    kind: str
    build: Callable[[], nn.Module]
    batch: Callable[[], Batch]
    blocks: tuple[str, ...]
    heads: tuple[str, ...]
    loss: Callable[[Any, Tensor], Tensor] | None = None
    output: str | None = None
    targets: str | None = None
    axes: Mapping[str, str] = field(default_factory=dict)
    samples: str | None = None
    classes: int | None = None
    exact: tuple[str, ...] = ()
    part: str = ""
    package: str | None = None

    def model(self) -> nn.Module:
        """Return the model in training mode, without dropout, with fixed initial weights."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            model = self.build().train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return model

    def attach(self, model: nn.Module, rule: Rule) -> bp.Attachment:
        """Attach a rule that needs blocks."""
        given, words = self.arguments(rule, bp.Backprop())
        return bp.attach(self.taught(model), *given, **words)

    def call(self) -> str:
        """Return the call that attaches a rule, as a user writes it."""
        given, words = self.arguments(Name("rule"), Name("bp.Backprop()"))
        where = f"model.{self.part}" if self.part else "model"
        shown = [where, *map(repr, given), *(f"{name}={said!r}" for name, said in words.items())]
        return f"bp.attach({', '.join(shown)})".replace("'", '"')

    def taught(self, model: nn.Module) -> nn.Module:
        """Return the part of the model that is taught."""
        return model.get_submodule(self.part)

    def arguments(self, rule: Any, exact: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of `attach` after the model.

        Args:
            rule: The rule of the hidden blocks.
            exact: The rule that gives the heads their exact gradient.
        """
        words = {"output": self.output, "targets": self.targets, "samples": self.samples}
        words = {name: said for name, said in words.items() if said is not None}
        axes = {"axes": dict(self.axes)} if self.axes else {}
        if self.output is not None:
            return [rule, list(self.blocks)], words | axes
        if len(self.heads) == 1 and "*" not in self.heads[0]:  # one block makes the output
            return [rule, [*self.blocks, *self.heads]], words | axes
        return [dict.fromkeys(self.blocks, rule) | dict.fromkeys(self.heads, exact)], words | axes

    def loss_of(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        outputs = model(**batch.inputs)
        if self.loss is None:
            found: Tensor = outputs.loss
            return found
        assert batch.targets is not None
        return self.loss(outputs, batch.targets)

    def is_head(self, name: str) -> bool:
        """Whether a parameter belongs to a module that makes the output."""
        parts = name.split(".")
        outer = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(each, head) for each in outer for head in self.heads)
