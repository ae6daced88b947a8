"""Tasks whose networks classify by goodness, as forward-forward needs them.

Hinton, "The forward-forward algorithm: some preliminary investigations", 2022, section 3.3.
"""

import torch
from torch import Tensor, nn

from beyondprop.models.goodness import AddedPattern, FirstPixels, GoodnessNetwork
from beyondprop.tasks.base import Contrast, Task
from beyondprop.tasks.cifar import load_cifar10
from beyondprop.tasks.digits import load_images
from beyondprop.tasks.mnist import load_mnist

CLASSES = 10
BLACK, WHITE = -0.42, 2.82  # of MNIST's standardised pixels
CHANNELS = (16, 32, 64, 64)


def right_and_wrong(classes: int, inputs: Tensor, targets: Tensor) -> Contrast:
    """Return each input with its own class and with another one, drawn uniformly from the others.

    Args:
        classes: Number of classes.
        inputs: ``(batch, ...)``.
        targets: Classes, ``(batch,)``.

    Returns:
        The inputs and the candidates ``(batch, 2)``, and the position of the right candidate: 0.
    """
    shift = torch.randint(1, classes, targets.shape, device=targets.device)
    candidates = torch.stack([targets, (targets + shift) % classes], dim=1)
    return (inputs, candidates), torch.zeros_like(targets)


def dense(inputs: int, width: int, blocks: int) -> list[nn.Module]:
    """Return blocks of a linear layer and ReLU; the first block flattens its input."""
    widths = [inputs, *[width] * (blocks - 1)]
    made: list[nn.Module] = [nn.Sequential(nn.Linear(w, width), nn.ReLU()) for w in widths]
    made[0] = nn.Sequential(nn.Flatten(), *made[0].children())
    return made


def digits() -> nn.Module:
    """Return a network from images (1, 8, 8) to the goodness of 10 classes, with three blocks of
    width 256.
    """
    return GoodnessNetwork(dense(64, 256, 3), FirstPixels(CLASSES, 0.0, 1.0))


def mnist() -> nn.Module:
    """Return a network from images (1, 28, 28) to the goodness of 10 classes, with three blocks of
    width 500.
    """
    return GoodnessNetwork(dense(784, 500, 3), FirstPixels(CLASSES, BLACK, WHITE))


def cifar() -> nn.Module:
    """Return a network from images (3, 32, 32) to the goodness of 10 classes, with four
    convolutions.
    """
    blocks = []
    before = 3
    for channels in CHANNELS:
        convolution = nn.Conv2d(before, channels, kernel_size=3, padding=1)
        blocks.append(nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2)))
        before = channels
    return GoodnessNetwork(blocks, AddedPattern(CLASSES, (3, 32, 32)))


def with_a_wrong_class(inputs: Tensor, targets: Tensor) -> Contrast:
    """Return the result of `right_and_wrong` for ten classes."""
    return right_and_wrong(CLASSES, inputs, targets)


DIGITS_GOODNESS = Task(
    name="digits-goodness",
    summary="8x8 digits, classified by goodness, three linear layers",
    load=load_images,
    model=digits,
    blocks=("blocks.*",),
    epochs=30,
    batch_size=64,
    learning_rate=3e-3,
    contrast=with_a_wrong_class,
)

MNIST_GOODNESS = Task(
    name="mnist-goodness",
    summary="MNIST's 28x28 digits, classified by goodness, three linear layers",
    load=load_mnist,
    model=mnist,
    blocks=("blocks.*",),
    epochs=20,
    batch_size=128,
    learning_rate=4e-3,
    contrast=with_a_wrong_class,
)

CIFAR_GOODNESS = Task(
    name="cifar-goodness",
    summary="CIFAR-10's 32x32 colour images, classified by goodness, four convolutions",
    load=load_cifar10,
    model=cifar,
    blocks=("blocks.*",),
    epochs=5,
    batch_size=128,
    learning_rate=1e-3,
    contrast=with_a_wrong_class,
)
