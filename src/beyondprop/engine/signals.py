"""The check of what a rule returns as a signal."""

from torch import Tensor

from beyondprop.core import At
from beyondprop.errors import UserError, shown


def checked(signal: object, at: At) -> Tensor:
    """Return a rule's signal.

    Raises:
        UserError: It is no tensor of the shape of the block's output.
    """
    if isinstance(signal, Tensor) and signal.shape == at.shape:
        return signal
    found = f"shape {tuple(signal.shape)}" if isinstance(signal, Tensor) else shown(signal)
    raise UserError(
        f"the signal of {type(at.block.rule).__name__} for block '{at.block.name}' must be a "
        f"tensor of shape {tuple(at.shape)}, that of the block's output (at.shape), not {found}"
    )
