"""Tasks on optical random features: a linear layer on them, and trained layers before them.

Fixed features: Saade et al., "Random projections through multiple optical scattering", 2016; Ohana
et al., "Kernel computations from large-scale random features obtained by optical processing units",
2020. A classifier after binarised features and an optical projection, as a defence: Cappelli,
Ohana, Launay, Meunier, Poli and Krzakala, "Adversarial robustness by design through analog
computing and synthetic gradients", 2022 (arXiv:2101.02115); Cappelli, Launay, Meunier, Ohana and
Poli, "ROPUST", 2021 (arXiv:2108.04217).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from beyondprop.optics import CalibratedFeatures, Features, OpticalFeatures
from beyondprop.tasks.base import Task
from beyondprop.tasks.digits import load_vectors
from beyondprop.tasks.mnist import load_mnist
from beyondprop.tasks.samples import Data, Samples, Split

GREY = 0.25, 0.75, 1.25
"""Thresholds for small images with grey values."""


def load_halves(folder: Path | None = None) -> Data:
    """Return the digits' upper halves (n, 32) in [0, 1], and their lower halves (n, 32) as targets.

    Targets are relative to the training split's mean image, in units of the square root of its mean
    variance.

    Args:
        folder: Not used: the images are part of the package.
    """
    data = load_vectors(folder)
    lower = data.train.batch(slice(None))[0][:, 32:]
    mean = lower.mean(0)
    size = (lower - mean).square().mean().sqrt()

    def halves(part: Samples) -> Split:
        images, _ = part.batch(slice(None))
        return Split(images[:, :32], (images[:, 32:] - mean) / size)

    named = replace(data, name="scikit-learn digits, lower halves", classes=())
    return named.mapped(halves)


def explained(outputs: Tensor, targets: Tensor) -> float:
    """Return R², the share of the variance that is predicted; at most 1, and 0 for the mean image.

    Args:
        outputs: In the shape of the targets.
        targets: Relative to the training split's mean, in units of its standard deviation.
    """
    return 1 - mse_loss(outputs, targets).item()


def linear_on_light(outputs: int, features: int, thresholds: Sequence[float]) -> nn.Module:
    """Return a network from images or vectors to outputs: fixed features and a linear layer, the
    only part that learns.
    """
    light = OpticalFeatures(features, thresholds, seed=drawn())
    return nn.Sequential(nn.Flatten(), light, nn.Linear(features, outputs))


def defence(pixels: int, width: int, light: Features) -> nn.Sequential:
    """Return a network from images of `pixels` pixels to 10 logits: two hidden layers, signs, an
    optical projection and a linear layer.

    The child ``features`` is trained as one block; ``head`` contains the projection. With
    `OpticalFeatures` no gradient passes through it, so a rule that ends the graph must train the
    features. With `CalibratedFeatures`, as in the tasks, backpropagation can train them too, as the
    upper control, and an attacker can use its gradient.
    """
    features = nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.Tanh(),  # its sign is projected; bounded, so that the step's surrogate has a slope
    )
    head = nn.Sequential(light, nn.Linear(light.light.n_components, 10))
    return nn.Sequential(OrderedDict(features=features, head=head))


def digits() -> nn.Module:
    """Return a network from vectors of length 64 to 10 logits, with 2,000 features."""
    return linear_on_light(10, 2000, GREY)


def completion() -> nn.Module:
    """Return a network from vectors of length 32 to 32 numbers, with 2,000 features."""
    return linear_on_light(32, 2000, GREY)


def mnist() -> nn.Module:
    """Return a network from images (1, 28, 28) to 10 logits, with 4,000 features."""
    return linear_on_light(10, 4000, (0.0,))


def digits_defence() -> nn.Module:
    """Return the network of `defence` from vectors of length 64 to 10 logits, with a calibrated
    device of 512 features.
    """
    return defence(64, 128, CalibratedFeatures(512, seed=drawn()))


def mnist_defence() -> nn.Module:
    """Return the network of `defence` from images (1, 28, 28) to 10 logits, with a calibrated
    device of 1,024 features.
    """
    return defence(784, 256, CalibratedFeatures(1024, seed=drawn()))


def drawn() -> int:
    """Return a device seed from PyTorch's global generator, so that each run has its own device."""
    return int(torch.randint(2**31, ()))


DIGITS_OPTICAL_FEATURES = Task(
    name="digits-optical-features",
    summary="scikit-learn's 8x8 digits (embedded), a linear layer on 2,000 features by light",
    load=load_vectors,
    model=digits,
    epochs=20,
    batch_size=64,
    learning_rate=1e-3,
)

DIGITS_OPTICAL_COMPLETION = Task(
    name="digits-optical-completion",
    summary="lower halves of 8x8 digits (embedded) from upper ones, linear on features by light",
    load=load_halves,
    model=completion,
    loss=mse_loss,
    metric=explained,
    metric_name="R²",
    epochs=20,
    batch_size=64,
    learning_rate=1e-3,
)

DIGITS_OPTICAL_DEFENCE = Task(
    name="digits-optical-defence",
    summary="scikit-learn's 8x8 digits (embedded), two layers, their signs, light, a linear layer",
    load=load_vectors,
    model=digits_defence,
    blocks=("features", "head"),
    epochs=20,
    batch_size=64,
    learning_rate=3e-3,
)

MNIST_OPTICAL_FEATURES = Task(
    name="mnist-optical-features",
    summary="MNIST's 28x28 digits, a linear layer on 4,000 features by light",
    load=load_mnist,
    model=mnist,
    epochs=5,
    batch_size=128,
    learning_rate=1e-3,
)

MNIST_OPTICAL_DEFENCE = Task(
    name="mnist-optical-defence",
    summary="MNIST's 28x28 digits, two layers, their signs, light, a linear layer",
    load=load_mnist,
    model=mnist_defence,
    blocks=("features", "head"),
    epochs=5,
    batch_size=128,
    learning_rate=2e-3,
)
