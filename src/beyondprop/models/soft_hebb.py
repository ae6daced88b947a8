"""The convolutional network of deep SoftHebb.

Journé, Garcia Rodriguez, Guo and Moraitis, "Hebbian deep learning without feedback", 2023, and the
network for CIFAR-10 in the authors' program.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError

CHANNELS = (96, 384, 1536)
KERNELS = (5, 3, 3)
POWERS = (0.7, 1.4, 1.0)
CLASSES = 10


class Triangle(nn.Module):
    """The excess over the mean of all channels, to a power: ``max(u - mean u, 0) ** power``.

    The "triangle" activation of Coates, Ng and Lee 2011 with the power of rectified polynomial
    units. The mean is computed at each position of a map, or over the features of a vector.

    Args:
        power: Exponent of the part above the mean.
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        """Return the activities of ``(batch, channels, ...)``, of the same shape."""
        above = F.relu(x - x.mean(1, keepdim=True))
        if self.power == 1:
            return above
        # A power below 1 has an infinite slope at 0, where the gradient would be NaN.
        return above.clamp_min(torch.finfo(x.dtype).tiny).pow(self.power)

    def extra_repr(self) -> str:
        """Return the power."""
        return f"power={self.power}"


def soft_hebb_network(
    channels: int, side: int, width: float = 1.0, length: float = 25.0, classes: int = CLASSES
) -> nn.Sequential:
    """Return a network from images (channels, side, side) to logits by three convolutions, without
    biases.

    Each of them has standardised input channels, and is followed by ``Triangle`` and pooling.
    Weights are drawn from normal distributions so that a neuron's weight has the norm ``length``,
    far above 1, the norm at which SoftHebb stops. The inputs of the read-out, which learns from
    labels, are standardised too (the paper's read-out does not do this, and learns with Adam), and
    half of them are dropped in training.

    Args:
        channels: Number of channels of the images.
        side: Height and width of the images, at least 8.
        width: Factor on the paper's 96, 384 and 1,536 channels.
        length: Initial norm of the weights.
        classes: Number of outputs.
    """
    widths = [round(width * full) for full in CHANNELS]
    if side < 8 or min(widths) < 1:
        raise UserError(
            f"images of side {side} or a width of {width} leave a layer empty: the network takes "
            f"images of at least 8 x 8 pixels, and {CHANNELS[0]} times the width as channels"
        )
    modules: list[nn.Module] = []
    before = channels
    for number, (size, kernel, power) in enumerate(zip(widths, KERNELS, POWERS, strict=True)):
        last = number == len(widths) - 1
        modules += [
            nn.BatchNorm2d(before, affine=False),
            _convolution(before, size, kernel, length),
            Triangle(power),
            nn.AvgPool2d(2) if last else nn.MaxPool2d(4, stride=2, padding=1),
        ]
        before, side = size, side // 2
    return nn.Sequential(
        *modules,
        nn.BatchNorm2d(before, affine=False),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(before * side**2, classes),
    )


def soft_hebb_mlp(inputs: int, width: int, depth: int, length: float = 2.0) -> nn.Sequential:
    """Return a network from vectors to 10 logits, whose hidden layers have standardised inputs and
    `Triangle`.

    The fully connected form of `soft_hebb_network`, without dropout.

    Args:
        inputs: Number of features of a vector.
        width: Number of neurons of a hidden layer.
        depth: Number of hidden layers.
        length: Initial norm of the weights.
    """
    modules: list[nn.Module] = []
    for before in (inputs, *[width] * (depth - 1)):
        layer = nn.Linear(before, width, bias=False)
        nn.init.normal_(layer.weight, std=length / before**0.5)
        modules += [nn.BatchNorm1d(before, affine=False), layer, Triangle()]
    return nn.Sequential(*modules, nn.BatchNorm1d(width, affine=False), nn.Linear(width, CLASSES))


def _convolution(inputs: int, outputs: int, kernel: int, length: float) -> nn.Conv2d:
    layer = nn.Conv2d(
        inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect", bias=False
    )
    nn.init.normal_(layer.weight, std=length / (inputs * kernel**2) ** 0.5)
    return layer
