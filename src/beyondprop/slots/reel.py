"""One converted tensor of weights: its fixed values, its scores, and what it holds by them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.slots.accumulator import Accumulator
from beyondprop.slots.kinds import Kind, Reels
from beyondprop.slots.scores import Scores
from beyondprop.slots.source import Source

CHUNK = 2**13
"""How many weights are compared with their values at a time."""


@dataclass(eq=False)
class Reel:
    """One converted tensor of weights.

    Attributes:
        name: Of the parameter in the model.
        parameter: It holds the chosen weights at all times.
        kind: What they are.
        source: Their fixed values.
        scores: What they are chosen by; made when it is first needed.
        checked: Whether the weights are known to be what the scores choose.
    """

    name: str
    parameter: nn.Parameter
    kind: Kind
    source: Source
    scores: Scores | None = None
    checked: bool = False

    def held(self) -> Scores:
        """Return the scores; the initial ones where no optimizer has moved any yet."""
        if self.scores is None:
            self.scores = Scores(self.kind, self.source, self.parameter.detach())
        return self.scores

    @torch.no_grad()
    def restart(self) -> None:
        """Take the initial scores again, and the weights that they choose."""
        if self.scores is None:
            # Those made here are gone again at once; of reels one number a weight says the same.
            form = Accumulator if isinstance(self.kind, Reels) else Scores
            form(self.kind, self.source, self.parameter.detach()).write(self.parameter)
        else:
            self.scores.restart()
            self.write()

    @torch.no_grad()
    def write(self) -> None:
        """Write the weights that the scores choose."""
        self.held().write(self.parameter)

    @torch.no_grad()
    def draw(self) -> None:
        """Write the weights that a forward pass in training mode takes."""
        self.held().draw(self.parameter)

    @torch.no_grad()
    def check(self) -> None:
        """See before a step that the scores are those of the weights.

        Raises:
            UserError: The weights were changed or moved without them.
        """
        scores, weights = self.held(), self.parameter
        if (scores.tensor.dtype, scores.tensor.device) != (weights.dtype, weights.device):
            raise UserError(
                f"'{self.name}' was moved to {weights.dtype}, {weights.device} after "
                "slots.drive(): move the model first, then make the optimizer and drive it"
            )
        if not self.checked and not self.kind.random:
            expected = torch.empty_like(weights)
            scores.write_all(expected)
            if not torch.equal(expected, weights):
                raise UserError(
                    f"'{self.name}' is not what its scores choose: load the optimizer's state dict "
                    "too, which holds them, after the model's; on several processes give all the "
                    "same seed; in a bank call restart() before a task"
                )
        self.checked = True

    @torch.no_grad()
    def option(self) -> Tensor:
        """Return which option each weight is, int64 of the weights' shape; of equal ones the first.

        Raises:
            UserError: Some weight is none: something else than a driven optimizer changed it.
        """
        weights = self.parameter.detach().reshape(-1)
        found = [
            self._option(places, weights) for places in self.source.places(weights).split(CHUNK)
        ]
        return torch.cat([weights.new_zeros(0, dtype=torch.int64), *found]).view(self.source.shape)

    def _option(self, places: Tensor, weights: Tensor) -> Tensor:
        options = self.kind.options(self.source.values_at(places, weights))
        same = options == weights[places]
        if not bool(same.any(0).all()):
            raise UserError(
                f"'{self.name}' holds weights that are not among its fixed values: something else "
                "than an optimizer under slots.drive() changed them"
            )
        return same.to(torch.uint8).argmax(0)


class Loaded:
    """After a state dict was loaded into a layer: its scores are those of other weights, maybe."""

    def __init__(self, reel: Reel) -> None:
        self.reel = reel

    def __call__(self, _layer: nn.Module, _keys: Any) -> None:
        """Have the weights be compared with their scores before the next step."""
        self.reel.checked = False
