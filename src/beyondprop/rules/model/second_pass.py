"""PEPITA's second pass, on an input changed by the error."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from beyondprop.layers.conv import kernel_gradients
from beyondprop.rules.model.plain_chain import LayerState, PlainChain
from beyondprop.shapes import Axes, rows_and_features


class Masks:
    """The dropout masks of a first pass, for the second."""

    def __init__(self) -> None:
        self.drawn: list[Tensor | None] = []

    def draw(self, dropout: nn.Module, x: Tensor) -> Tensor:
        """Drop out."""
        mask = dropout(torch.ones_like(x)) if dropout.training else None
        self.drawn.append(mask)
        return x if mask is None else x * mask


@dataclass(frozen=True, eq=False)
class SecondPass:
    """What a first pass leaves behind.

    Attributes:
        modulation: Makes of errors ``(rows, outputs)`` what is added to inputs of a given width.
        chain: The model.
        slots: For each layer where its parameters are among the model's.
        masks: Of the dropouts.
        count: How many parameters the model has.
        cast: Whether autocast was on, and its dtype.
        axes: What the axes of the model's output mean.
    """

    modulation: Callable[[Tensor, int], Tensor]
    chain: PlainChain
    slots: dict[nn.Module, dict[str, int]]
    masks: Masks
    count: int
    cast: tuple[bool, torch.dtype]
    axes: Axes

    def gradients(
        self,
        errors: Sequence[Tensor | None],
        saved: Sequence[Tensor],
        needed: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Run the second pass and return the parameters' gradients."""
        (error,) = errors
        parameters, (x, *activities) = saved[: self.count], saved[self.count :]
        assert error is not None
        found: list[Tensor | None] = [None] * len(saved)
        on, dtype = self.cast
        with torch.autocast(x.device.type, dtype, enabled=on):
            states = self._states(error, x, parameters)
            for state, before in zip(states, [*activities, None], strict=True):
                slots = self.slots[state.layer.module]
                if any(needed[place] for place in slots.values()):
                    delta = error if before is None else _difference(state, before)
                    for name, gradient in layer_gradients(state, delta).items():
                        add_gradient(found, slots.get(name), gradient)
        return found

    def _states(
        self, error: Tensor, x: Tensor, parameters: Sequence[Tensor]
    ) -> Iterator[LayerState]:
        """Run the second pass."""
        rows, outputs, features = rows_and_features(error.shape, self.axes, x.shape, self.axes)
        message = error.reshape(rows, outputs).to(x.dtype) * rows
        changed = x + self.modulation(message, features).view(x.shape)
        masks = iter(self.masks.drawn)

        def compute(layer: nn.Module, x: Tensor) -> Tensor:
            own = {name: parameters[place] for name, place in self.slots[layer].items()}
            return functional_call(layer, own, (x,))  # type: ignore[no-any-return]

        def drop(_: nn.Module, x: Tensor) -> Tensor:
            mask = next(masks)
            return x if mask is None else x * mask

        return self.chain.walk(changed, compute, drop)


def _difference(state: LayerState, before: Tensor) -> Tensor:
    """Return how much a layer's activity fell, divided by the rows and positions it has."""
    width = state.shape[-1 if isinstance(state.layer.module, nn.Linear) else 1]
    return (before - state.activity) / (before.numel() // width)


def layer_gradients(state: LayerState, delta: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a layer's parameters, summed over the batch and all positions."""
    layer = state.layer.module
    dtype = next(layer.parameters()).dtype
    delta, before = delta.reshape(state.shape).to(dtype), state.input.to(dtype)
    with torch.autocast(delta.device.type, enabled=False):
        if not isinstance(layer, nn.Linear):
            weight, bias = kernel_gradients(layer, before, delta)
            return {"weight": weight, "bias": bias}
        rows = delta.reshape(-1, delta.shape[-1])
        return {"weight": rows.t() @ before.reshape(-1, before.shape[-1]), "bias": rows.sum(0)}


def add_gradient(found: list[Tensor | None], place: int | None, gradient: Tensor) -> None:
    """Add a gradient to what a parameter has; one may belong to several layers."""
    if place is not None:
        old = found[place]
        found[place] = gradient if old is None else old + gradient
