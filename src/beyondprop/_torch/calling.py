"""Calls of a model with a batch's inputs."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""A model's positional and keyword arguments."""


def arguments_of(inputs: Any) -> Arguments:
    """Return a model's arguments for a batch's inputs.

    A tuple or list holds positional arguments, a mapping keyword arguments. Anything else, such as
    a tensor or a packed sequence, is one argument.
    """
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if isinstance(inputs, (tuple, list)) and not isinstance(inputs, PackedSequence):
        return tuple(inputs), {}
    return (inputs,), {}


def call(model: nn.Module, inputs: Any) -> Any:
    """Return a model's outputs for a batch's inputs; see `arguments_of`."""
    arguments, keywords = arguments_of(inputs)
    return model(*arguments, **keywords)
