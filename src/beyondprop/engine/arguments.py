"""Targets and sample numbers among the arguments of a model's call."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.rules.local.objectives import IGNORED

CAUSAL = ("ForCausalLM", "LMHeadModel", "DoubleHeadsModel")
"""Parts of the class names of Hugging Face models that predict the next token."""

UNSHIFTED = ("Bart", "MBart", "Pegasus", "TrOCR", "XLM", "XLNet", "Marian", "Blenderbot", "PLBart")
"""Prefixes of the class names of such models that take labels already shifted."""

COUNT = "num_items_in_batch"
"""The argument in which Hugging Face's trainer passes the divisor of the model's loss."""


@dataclass(frozen=True, eq=False)
class Given:
    """Values that rules read from the arguments of one call of the model.

    Attributes:
        targets: The targets; None if they come from elsewhere.
        share: The model's loss as a fraction of the mean over its targets.
        samples: The sample of each node of graphs.
    """

    targets: Tensor | None = None
    share: Tensor | float = 1.0
    samples: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Labels:
    """Targets among the arguments of the model's call.

    Attributes:
        model: The model.
        name: The argument's name.
        shift: Number of tokens by which the targets are ahead of the inputs.
    """

    model: nn.Module
    name: str
    shift: int

    def of(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> Given:
        """Return the values that a call of the model passes."""
        found = argument(self.model, self.name, inputs, keywords)
        if found is None:
            return Given()
        if self.shift and found.dim() < 2:
            raise UserError(
                f"'{self.name}' has no token axis to shift by {self.shift}: attach with shift=0"
            )
        if self.shift:  # (batch, tokens): the last tokens have no target
            found = F.pad(found[:, self.shift :], (0, self.shift), value=IGNORED)
        items = keywords.get(COUNT)
        return Given(found) if items is None else Given(found, (found != IGNORED).sum() / items)


@dataclass(frozen=True, eq=False)
class Arguments:
    """The arguments of the model's call that rules read.

    Attributes:
        model: The model.
        labels: The targets; None if they come from elsewhere.
        samples: Name of the argument that holds the sample of each node of graphs, if any does.
    """

    model: nn.Module
    labels: Labels | None
    samples: str | None

    def of(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> Given:
        """Return the values that a call of the model passes."""
        given = Given() if self.labels is None else self.labels.of(inputs, keywords)
        if self.samples is None:
            return given
        return replace(given, samples=argument(self.model, self.samples, inputs, keywords))


def argument(
    model: nn.Module, name: str, inputs: Sequence[Any], keywords: Mapping[str, Any]
) -> Tensor | None:
    """Return an argument of a model's call, or an attribute of one if the name contains a dot.

    Raises:
        UserError: It is not a tensor.
    """
    first, *attributes = name.split(".")
    found = keywords.get(first)
    if found is None and inputs:
        bound = inspect.signature(model.forward).bind_partial(*inputs, **keywords)
        found = bound.arguments.get(first)
    for attribute in attributes:
        found = getattr(found, attribute, None)
    if found is not None and not isinstance(found, Tensor):
        raise UserError(f"'{name}' must be a tensor, not {type(found).__name__}")
    return found


def arguments_of(
    model: nn.Module, targets: str | None, shift: int | None, samples: str | None
) -> Arguments | None:
    """Return the model's arguments that rules read; None if they read none.

    Args:
        model: The model.
        targets: Name of the argument with the targets.
        shift: Number of tokens by which they are ahead of the inputs; None infers it from the
            model's class.
        samples: Name of the argument with the sample of each node.

    Raises:
        UserError: The model has no such argument.
    """
    labels = labels_of(model, targets, shift)
    if samples is not None:
        _check_argument(model, "samples", samples)
    return None if labels is None and samples is None else Arguments(model, labels, samples)


def labels_of(model: nn.Module, name: str | None, shift: int | None) -> Labels | None:
    """Return the argument of a model's call that holds targets; None if they come from elsewhere.

    Args:
        model: The model.
        name: The argument's name.
        shift: Number of tokens by which the targets are ahead of the inputs; None infers it from
            the model's class, for models of Hugging Face.

    Raises:
        UserError: The model has no such argument.
    """
    if name is None:
        if shift is not None:
            raise UserError("shift= applies to targets among the model's arguments: set targets=")
        return None
    _check_argument(model, "targets", name)
    if shift is None:
        kinds = [kind.__name__ for kind in type(model).__mro__]
        ahead = any(word in kind for kind in kinds for word in CAUSAL)
        shift = int(ahead and not any(kind.startswith(UNSHIFTED) for kind in kinds))
    if isinstance(shift, bool) or not isinstance(shift, int) or shift < 0:
        raise UserError(f"shift= takes a whole number of tokens, 0 or more, not {shift!r}")
    return Labels(model, name, shift)


def _check_argument(model: nn.Module, option: str, name: object) -> None:
    """Check that the model's call has an argument.

    Raises:
        UserError: It has none of this name.
    """
    parameters = inspect.signature(model.forward).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if not isinstance(name, str) or (name.split(".")[0] not in parameters and not open_ended):
        raise UserError(
            f"{option}={name!r} is not an argument of {type(model).__name__}.forward, which takes: "
            f"{', '.join(parameters)}"
        )
