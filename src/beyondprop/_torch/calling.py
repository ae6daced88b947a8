"""How a model is called with a batch's inputs."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a model is called with, by position and by name."""


def arguments_of(inputs: Any) -> Arguments:
    """Return what a model is called with: of a batch's inputs several arguments, or one.

    A tuple or list holds arguments in their order, a mapping arguments by name. All else, a tensor
    or a packed sequence say, is one argument.
    """
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if isinstance(inputs, (tuple, list)) and not isinstance(inputs, PackedSequence):
        return tuple(inputs), {}
    return (inputs,), {}


def call(model: nn.Module, inputs: Any) -> Any:
    """Return what a model makes of a batch's inputs; see `arguments_of`."""
    arguments, keywords = arguments_of(inputs)
    return model(*arguments, **keywords)
