"""Direct feedback alignment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from beyondprop.core import ForwardPass
from beyondprop.rules.direct.base import DirectRule


@dataclass(frozen=True)
class DirectFeedbackAlignment(DirectRule):
    """Direct feedback alignment: the output error goes to every block by a fixed random matrix.

    ``δ_l = (e B_l) ⊙ f'(a_l)`` with ``e`` the gradient of the loss with respect to the model's
    output (Nøkland 2016, equation 7). In the backward pass no block waits for another.
    """

    name: ClassVar[str] = "dfa"

    def messages(self, run: ForwardPass) -> Sequence[Tensor | None]:
        """Return the output errors."""
        return run.errors


REGISTERED = (DirectFeedbackAlignment,)
