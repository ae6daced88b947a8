"""Direct Kolen-Pollack."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from beyondprop.engine.detach import Cut, Lesson
from beyondprop.rules.direct.reading import ReadingRule


@dataclass(frozen=True)
class DirectKolenPollack(ReadingRule):
    """Direct Kolen-Pollack: DFA whose matrices learn from the error and the block's output.

    The signal is DFA's, ``e B_l``, and ``B_l`` gets the update that the output layer's weight would
    get, were the block the one before it: ``ΔB_l = -η eᵀ h_l - λ B_l`` (Webster, Choi and Ahn
    2021). For the last hidden block that is the Kolen-Pollack rule itself. The optimizer makes the
    update, so it must hold ``handle.parameters()`` too; its weight decay is λ.
    """

    name: ClassVar[str] = "dkp"
    begins: ClassVar[frozenset[str]] = frozenset({"projection"})
    alone: ClassVar[str] = (
        "the gradient of its feedback is not averaged over processes, as its weights' is; leave "
        "DistributedDataParallel out and use DataParallel(handle)"
    )
    averages: ClassVar[bool] = True

    def start(self, like: Tensor) -> dict[str, Tensor]:
        """Return a parameter that has no shape yet."""
        parameter: Any = UninitializedParameter
        return {"feedback": parameter(device=like.device, dtype=like.dtype)}

    def made(self, cut: Cut, features: int, width: int, output: Tensor) -> Tensor:
        """Return the block's matrix; it begins as DFA's."""
        matrix = cut.state["feedback"]
        if isinstance(matrix, UninitializedParameter):
            # As the block's own parameters are now; a pickle of an empty parameter forgets that.
            like = cut.beside[0] if cut.beside else output
            matrix.materialize((features, width), like.device, like.dtype)
            stream = self.projection.stream(cut.stream)
            begun = self.projection.matrix(features, width, stream, matrix.detach())
            assert isinstance(matrix, nn.Parameter)
            with torch.no_grad():
                matrix.copy_(begun)
        return matrix

    def signal_from(
        self,
        lesson: Lesson,  # noqa: ARG002
        cut: Cut,
        error: Tensor,
        output: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Return ``e B`` and ``eᵀ h``."""
        return error @ cut.state["feedback"].detach(), error.t() @ output
