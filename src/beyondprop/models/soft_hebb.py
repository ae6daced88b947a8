"""Networks that SoftHebb learns in: inputs centred by batch norm, long weights, triangles."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Triangle(nn.Module):
    """Activation above the mean of all neurons, to a power: ``max(0, u - mean(u)) ** power``.

    Coates, Lee and Ng 2011 have power 1; Journé et al. 2023 choose one for every layer.

    Args:
        power: Of the activation.
        channels_first: Whether neurons are the second axis, as behind convolutions.
    """

    def __init__(self, power: float = 1.0, channels_first: bool = True) -> None:
        super().__init__()
        self.power, self.channels_first = power, channels_first

    def forward(self, u: Tensor) -> Tensor:
        """Return activations, shaped like ``u``."""
        neurons = 1 if self.channels_first else -1
        above = F.relu(u - u.mean(neurons, keepdim=True))
        return above if self.power == 1 else above**self.power


def dense_network(inputs: int, widths: Sequence[int], classes: int, radius: float) -> nn.Sequential:
    """Return a network of fully connected SoftHebb layers with a linear read-out.

    Args:
        inputs: Numbers of an input.
        widths: Of the hidden layers.
        classes: Outputs of the read-out.
        radius: Length that the weights of a neuron begin with, on average; well above 1.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layer = nn.Linear(inputs, width, bias=False)
        nn.init.normal_(layer.weight, std=radius / inputs**0.5)
        layers += [nn.BatchNorm1d(inputs, eps=1.0, affine=False), layer]
        layers.append(Triangle(1.0, channels_first=False))
        inputs = width
    return nn.Sequential(*layers, nn.BatchNorm1d(inputs, affine=False), nn.Linear(inputs, classes))


PUBLISHED = ((96, 5, 0.7), (384, 3, 1.4), (1536, 3, 1.0))
"""Channels, kernel and power of each layer of the network for CIFAR-10 (released code)."""


def convolutional_network(
    channels: int, classes: int, size: int, width: float = 1.0, radius: float = 25.0
) -> nn.Sequential:
    """Return the convolutional network of Journé et al. 2023 for CIFAR-10, or a narrower one.

    Three blocks of batch norm, convolution, triangle and pooling; dropout and a linear read-out.
    The released code has no network for MNIST: the same is used.

    Args:
        channels: Of an input.
        classes: Outputs of the read-out.
        size: Height and width of an input.
        width: Of the published numbers of channels.
        radius: Length that the weights of a neuron begin with, on average (released code: 25).
    """
    layers: list[nn.Module] = []
    for number, (full, kernel, power) in enumerate(PUBLISHED):
        wide, fan_in = round(full * width), channels * kernel**2
        padding = kernel // 2
        layer = nn.Conv2d(
            channels, wide, kernel, padding=padding, padding_mode="reflect", bias=False
        )
        nn.init.normal_(layer.weight, std=radius / fan_in**0.5)
        last = number == len(PUBLISHED) - 1
        pool: nn.Module = nn.AvgPool2d(2, 2) if last else nn.MaxPool2d(4, 2, 1)
        layers += [nn.BatchNorm2d(channels, affine=False), layer, Triangle(power), pool]
        channels = wide
        size = size // 2
    layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(channels * size**2, classes)]
    return nn.Sequential(*layers)


def learning_rates(model: nn.Sequential, rates: Sequence[float]) -> list[dict[str, object]]:
    """Return a parameter group for each hidden layer, with the learning rate η of its own.

    Args:
        model: One of the networks above.
        rates: Of the hidden layers.
    """
    layers = [m for m in model if isinstance(m, (nn.Linear, nn.Conv2d))][:-1]
    return [
        {"params": list(layer.parameters()), "lr": rate}
        for layer, rate in zip(layers, rates, strict=True)
    ]


def read_out(model: nn.Sequential) -> nn.Linear:
    """Return the linear layer at the output."""
    last = model[-1]
    assert isinstance(last, nn.Linear)
    return last


def hidden_features(model: nn.Sequential, x: Tensor) -> Tensor:
    """Return what the read-out sees, ``(batch, features)``; run in eval mode."""
    with torch.no_grad():
        found: Tensor = model[:-1](x)
    return found
