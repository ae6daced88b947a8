"""Guards that keep state between passes finite."""

import torch
from torch import Tensor


def finite_or(new: Tensor, before: Tensor) -> Tensor:
    """Return the new state, or the previous one if the new one contains NaN or infinity.

    Otherwise one bad batch, whose step the caller skips, would remain in a running mean forever.
    The function does not wait for the device.
    """
    return torch.where(new.isfinite().all(), new, before)
