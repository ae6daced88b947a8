"""Random changes to training images that preserve their class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.errors import UserError

PADDING = 4


def crop_and_flip(images: Tensor) -> Tensor:
    """Shift each image by up to four pixels either way, and mirror half of them.

    Each image is padded by four zeros on every side and cropped to its size at a random position,
    then flipped left to right or not, as is usual for CIFAR-10 (He, Zhang, Ren and Sun, "Deep
    residual learning for image recognition", 2016, section 4.2). All random numbers come from
    PyTorch's global CPU generator, whatever the device: the same seed gives the same changes
    everywhere, also in a run that is interrupted and resumed.

    Args:
        images: (n, channels, height, width), standardised, so that zero is the mean.

    Returns:
        New images of the same shape, type and device.

    Raises:
        UserError: The shape is different.
    """
    if images.ndim != 4:
        raise UserError(f"images must be (n, channels, height, width), not {tuple(images.shape)}")
    n, _, height, width = images.shape
    down, right = torch.randint(2 * PADDING + 1, (2, n)).to(images.device)
    mirrored = torch.randint(2, (n, 1, 1, 1)).bool().to(images.device)
    padded = F.pad(images, (PADDING,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (n, channels, 9, 9, height, width)
    cropped = windows[torch.arange(n, device=images.device), :, down, right]
    return torch.where(mirrored, cropped.flip(3), cropped)
