"""Numbers that are kept from pass to pass stay finite."""

import torch
from torch import Tensor


def finite_or(new: Tensor, before: Tensor) -> Tensor:
    """Return a new state, or the one before it where the new one holds NaN or infinity.

    One bad batch, whose step the caller skips, would else stay in what is followed from batch to
    batch for ever. The device is not waited for.
    """
    return torch.where(new.isfinite().all(), new, before)
