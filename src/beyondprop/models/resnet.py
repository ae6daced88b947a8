"""ResNet-20 and ResNet-18 for images of 32x32.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64)
BLOCKS = ("stem", "layers.*", "head")
"""The model's blocks, in the order they run; each residual block is a block."""


class ResidualBlock(nn.Module):
    """Two convolutions whose output is added to the block's input.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Stride of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.more = stride, outputs - inputs
        self.conv1 = _conv(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu2(y + self.shortcut(x))
        return out

    def shortcut(self, x: Tensor) -> Tensor:
        """Return the input in the output's shape, without parameters (the paper's option A).

        It takes every `stride`-th pixel and appends channels of zeros.
        """
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


def resnet20() -> nn.Module:
    """Return a network from images (3, 32, 32) to 10 logits: a convolution, nine residual blocks,
    a linear layer.

    269,722 parameters. Convolutions are initialised as in He et al. 2015.
    """
    return _network(WIDTHS, 3)


def resnet18() -> nn.Module:
    """Return a wider network with eight residual blocks, of 64 to 512 channels.

    10,997,952 parameters: ResNet-18 with the stem and the shortcuts of the networks for small
    images.
    """
    return _network((64, 128, 256, 512), 2)


def _network(stages: Sequence[int], repeats: int) -> nn.Module:
    widths = [stages[0], *(width for width in stages for _ in range(repeats))]
    layers = [
        ResidualBlock(inputs, outputs, stride=1 if inputs == outputs else 2)
        for inputs, outputs in pairwise(widths)
    ]
    stem = nn.Sequential(_conv(3, stages[0]), nn.BatchNorm2d(stages[0]), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(stages[-1], 10))
    return nn.Sequential(OrderedDict(stem=stem, layers=nn.Sequential(*layers), head=head))


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv
