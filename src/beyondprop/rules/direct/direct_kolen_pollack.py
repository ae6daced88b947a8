"""Direct Kolen-Pollack."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from beyondprop.core import At, Block, Traits
from beyondprop.rules.direct.learned import LEARNED, LearnedDirectFeedback, like_of


@dataclass(frozen=True)
class DirectKolenPollack(LearnedDirectFeedback):
    """Direct Kolen-Pollack: DFA whose matrices learn from the error and the block's output.

    The signal is DFA's, ``e B_l``. ``B_l`` gets the update that the output layer's weight would
    get if the block came directly before it: ``ΔB_l = -η eᵀ h_l - λ B_l`` (Webster, Choi and Ahn
    2021). For the last hidden block this is the Kolen-Pollack rule. The optimizer makes the update,
    so it must hold ``handle.parameters()`` too; its weight decay is λ.
    """

    name: ClassVar[str] = "dkp"
    traits: ClassVar[Traits] = LEARNED.but(
        averages=True,
        alone=(
            "the gradient of its feedback is not averaged over processes, as its weights' is; "
            "leave DistributedDataParallel out and use DataParallel(handle)"
        ),
    )

    def start(self, block: Block) -> dict[str, Tensor]:
        """Return a parameter without a shape."""
        like = like_of(block, torch.empty(0))
        parameter: Any = UninitializedParameter
        return {"feedback": parameter(device=like.device, dtype=like.dtype)}

    def make(self, at: At, features: int, width: int) -> Tensor:
        """Return the block's matrix, which is initialised as in DFA."""
        matrix = at.state["feedback"]
        if isinstance(matrix, UninitializedParameter):
            assert at.output is not None
            # Like the block's parameters: a pickle of an empty parameter loses dtype and device.
            like = like_of(at.block, at.output)
            matrix.materialize((features, width), like.device, like.dtype)
            begun = self.begun(at, features, width, matrix.detach())
            assert isinstance(matrix, nn.Parameter)
            with torch.no_grad():
                matrix.copy_(begun)
        return matrix

    def carried(self, at: At, error: Tensor, output: Tensor) -> Tensor:
        """Return ``e B``; the gradient of ``B`` is ``eᵀ h``."""
        at.gradients["feedback"] = error.t() @ output  # (features, width)
        return error @ at.state["feedback"].detach()  # (rows, width)


REGISTERED = (DirectKolenPollack,)
