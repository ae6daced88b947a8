"""The joint schedule: all blocks learn in the backward pass of the user's own loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from beyondprop.core import Block, ForwardPass, Schedule
from beyondprop.engine.functions import Output, Signal
from beyondprop.engine.settings import SETTINGS
from beyondprop.errors import UserError


class Joint(Schedule):
    """Ties the ends of one forward pass to the model's outputs; made anew for every pass.

    Attributes:
        ties: What ties each end to the outputs: its root, or the token of a node of its own.
        ends: For each tie its end, None where a node of its own makes the signal.
        blocks: For each tie its block.
    """

    def __init__(self) -> None:
        self.ties: list[Tensor] = []
        self.ends: list[Any] = []
        self.blocks: list[Block | None] = []
        self._reading: list[Any] = []
        self._small = 0

    def take(self, ends: Sequence[Any]) -> None:
        """Remember the ends of a block."""
        for end in ends:
            if end.reads_output:  # its state may be made once the model's output is known
                self._reading.append(end)
                continue
            self.blocks.append(end.at.block)
            numbers = end.root.numel()
            small = numbers <= SETTINGS.node_above
            small = small and self._small + numbers <= SETTINGS.nodes_after
            if small:
                self._small += numbers
                self.ties.append(end.root)
                self.ends.append(end)
            else:
                self.ties.append(Signal.apply(end.root, end))
                self.ends.append(None)

    def prepare(self, outputs: Sequence[Tensor]) -> None:
        """Tie the ends whose rules read the block's output, now that the error's shape is known.

        Raises:
            UserError: The model has several outputs, and a rule teaches by one.
        """
        for end in self._reading:
            if len(outputs) != 1 and end.rule.traits.one_output:
                raise UserError(
                    f"{type(end.rule).__name__} teaches by one output only; the model has "
                    f"{len(outputs)}"
                )
            end.rule.prepare(end.at, outputs[0].shape)
            self.ties.append(Signal.apply(end.root, end, *end.learned()))
            self.blocks.append(end.at.block)
            self.ends.append(None)
        self._reading = []

    def tie(self, run: ForwardPass, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the outputs, tied to all ends."""
        ties, self.ties = self.ties, []
        tied: Sequence[Tensor] = Output.apply(run, self.ends, len(outputs), *outputs, *ties)
        return tied

    def tie_nothing(self) -> None:
        """Let the caller's ``backward()`` find an end where all blocks have learned already."""
        self.ties.append(torch.zeros((), requires_grad=True))
        self.ends.append(None)
