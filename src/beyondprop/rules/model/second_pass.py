"""The second pass of PEPITA, on an input changed by the error."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from beyondprop.matching import whole_rows
from beyondprop.rules.model.chain_pass import Masks, Places, add_gradient, layer_gradients
from beyondprop.rules.model.plain_chain import LayerState, PlainChain
from beyondprop.shapes import Axes


@dataclass(frozen=True, eq=False)
class SecondPass:
    """The values that the first pass keeps.

    Attributes:
        modulation: Returns the change of inputs of a given width for errors ``(rows, outputs)``.
        chain: The model.
        places: Indices of each layer's parameters among the model's.
        masks: Masks of the dropouts.
        count: Number of the model's parameters.
        cast: Whether autocast was on, and its dtype.
        axes: Meaning of the axes of the model's output.
    """

    modulation: Callable[[Tensor, int], Tensor]
    chain: PlainChain
    places: Places
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
                places = self.places[state.layer.module]
                if any(needed[place] for place in places.values()):
                    delta = error if before is None else _difference(state, before)
                    for name, gradient in layer_gradients(state, delta).items():
                        add_gradient(found, places.get(name), gradient)
        return found

    def _states(
        self, error: Tensor, x: Tensor, parameters: Sequence[Tensor]
    ) -> Iterator[LayerState]:
        """Run the second pass."""
        rows, outputs, features = whole_rows(error.shape, self.axes, x.shape, self.axes)
        message = error.reshape(rows, outputs).to(x.dtype) * rows
        changed = x + self.modulation(message, features).view(x.shape)
        masks = iter(self.masks.drawn)

        def compute(layer: nn.Module, x: Tensor) -> Tensor:
            own = {name: parameters[place] for name, place in self.places[layer].items()}
            return functional_call(layer, own, (x,))  # type: ignore[no-any-return]

        def drop(_: nn.Module, x: Tensor) -> Tensor:
            mask = next(masks)
            return x if mask is None else x * mask

        return self.chain.walk(changed, compute, drop)


def _difference(state: LayerState, before: Tensor) -> Tensor:
    """Return the decrease of a layer's activity, divided by its number of rows and positions."""
    width = state.shape[-1 if isinstance(state.layer.module, nn.Linear) else 1]
    return (before - state.activity) / (before.numel() // width)
