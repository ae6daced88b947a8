"""The classes of layers while a layer rule is attached to them."""

import re
import types
from typing import Any

from torch import nn

from beyondprop.errors import UserError
from beyondprop.layers.attention import FeedbackMultiheadAttention
from beyondprop.layers.conv import FeedbackConv1d, FeedbackConv2d, FeedbackConv3d
from beyondprop.layers.conv_transpose import (
    FeedbackConvTranspose1d,
    FeedbackConvTranspose2d,
    FeedbackConvTranspose3d,
)
from beyondprop.layers.linear import FeedbackLinear
from beyondprop.layers.own import ByOperation, LinearOperation, Operation, TransposedLinear
from beyondprop.layers.recurrent import FeedbackGRUCell, FeedbackLSTMCell, FeedbackRNNCell
from beyondprop.layers.recurrent_layers import FeedbackGRU, FeedbackLSTM, FeedbackRNN

OPERATIONS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FeedbackLinear,
    nn.Conv1d: FeedbackConv1d,
    nn.Conv2d: FeedbackConv2d,
    nn.Conv3d: FeedbackConv3d,
    nn.ConvTranspose1d: FeedbackConvTranspose1d,
    nn.ConvTranspose2d: FeedbackConvTranspose2d,
    nn.ConvTranspose3d: FeedbackConvTranspose3d,
    nn.MultiheadAttention: FeedbackMultiheadAttention,
    nn.RNNCell: FeedbackRNNCell,
    nn.GRUCell: FeedbackGRUCell,
    nn.LSTMCell: FeedbackLSTMCell,
    nn.RNN: FeedbackRNN,
    nn.GRU: FeedbackGRU,
    nn.LSTM: FeedbackLSTM,
}
"""The class with a modified backward pass for each class of layers."""

REGISTERED: dict[str, Operation] = {
    "transformers.pytorch_utils:Conv1D": TransposedLinear(),
    "torch_geometric.nn.dense.linear:Linear": LinearOperation(),
}
"""The operations of other classes, by the classes' names, so that none must be imported."""

FORWARD = ("forward", "_conv_forward", "_output_padding")
"""The methods that compute a layer's output; a subclass that inherits all of them computes the same
output as its base class."""


class Swapped:
    """The base of classes created from an operation and a layer's own class.

    Such a class has the name of the layer's own class, and is a subclass of it.
    """

    _own: type[nn.Module]

    def __init_subclass__(cls, **_: Any) -> None:
        """Hide the created class from a registry that the layer's own class may have."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return how to copy the layer: as its own class, which is covered again in the copy."""
        how = super().__reduce_ex__(protocol)
        if not isinstance(how, tuple):
            return how
        make, arguments, *rest = how
        own = tuple(self._own if argument is type(self) else argument for argument in arguments)
        return (_covered, (make, own), *rest)


def register_operation(kind: type[nn.Module] | str, operation: Operation) -> None:
    """Make layer rules cover layers of a class, and of subclasses that inherit its `forward`.

    Args:
        kind: The class, or its name as "module:Class", if it should not be imported.
        operation: The operation of its layers. A later registration of the same class replaces an
            earlier one.

    Raises:
        UserError: An argument has the wrong type.
    """
    layer: Any = kind
    name = name_of(layer) if isinstance(layer, type) else layer
    if isinstance(layer, type) and not issubclass(layer, nn.Module):
        raise UserError(f"{layer.__name__} is not an nn.Module, so no rule can apply to it")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.]+:[\w.<>]+", name):
        raise UserError(f"register a class, or its name as 'module:Class', not {layer!r}")
    given: Any = operation
    if not isinstance(given, Operation):
        called = f"{given.__name__}: call the class" if isinstance(given, type) else repr(given)
        raise UserError(f"register_operation takes an Operation(), not {called}")
    REGISTERED[name] = operation


def name_of(kind: type) -> str:
    """Return the name by which a class is registered."""
    return f"{kind.__module__}:{kind.__qualname__}"


def feedback_class(kind: type[nn.Module]) -> type[nn.Module] | None:
    """Return the class with a modified backward pass for layers of a class, or None.

    A subclass of a known class is covered if it computes its output with the same methods.
    """
    for base in kind.__mro__:
        registered, operation = REGISTERED.get(name_of(base)), OPERATIONS.get(base)
        if registered is None and operation is None:
            continue
        if any(getattr(kind, name, 0) is not getattr(base, name, 0) for name in FORWARD):
            return None
        if registered is not None:
            return _made(ByOperation, kind, {"_operation": registered})
        return operation if kind is base else _made(operation, kind, {})
    return None


def is_transposed(kind: type[nn.Module]) -> bool:
    """Return whether layers of a class from `feedback_class` store their weights as (in, out)."""
    operation = getattr(kind, "_operation", None)
    return isinstance(operation, Operation) and operation.transposed


def is_made_of(kind: type[nn.Module], own: type[nn.Module]) -> bool:
    """Return whether a class is the one that covers layers of class ``own``."""
    return OPERATIONS.get(own) is kind or vars(kind).get("_own") is own


def _made(operation: Any, kind: type[nn.Module], inside: dict[str, Any]) -> type[nn.Module]:
    """Return a class with the name of the layer's class that computes with the operation."""
    bases = (Swapped, operation, kind)
    for known in kind.__subclasses__():  # not cached: parametrizations have one class per layer
        if known.__bases__ == bases and inside.items() <= vars(known).items():
            return known
    inside |= {
        "_own": kind,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    return types.new_class(kind.__name__, bases, {}, lambda own: own.update(inside))


def _covered(make: Any, arguments: tuple[Any, ...]) -> nn.Module:
    """Return a copied layer with the class that covers its own class."""
    layer: nn.Module = make(*arguments)
    made = feedback_class(type(layer))
    if made is None:
        raise UserError(
            f"this copy holds a layer of class {type(layer).__name__} under a layer rule, but no "
            "operation covers it here: register one with layers.register_operation before loading"
        )
    object.__setattr__(layer, "__class__", made)
    return layer
