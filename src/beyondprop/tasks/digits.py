"""The embedded data set: scikit-learn's handwritten digits, with two networks for them.

1,797 real 8x8 images, the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and
Kaynak, UCI Machine Learning Repository, 1998). `digits.csv.gz` is an exact copy of scikit-learn's
file (BSD 3-clause, see `digits.NOTICE.txt`); a row has 64 pixels from 0 to 16, then the class.
"""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn

from beyondprop.tasks.base import Task
from beyondprop.tasks.samples import Data, Samples, Split
from beyondprop.tasks.splitting import hold_out

TEST_PER_CLASS, VALIDATION_PER_CLASS = 36, 18  # of 174 to 183


def load_images(folder: Path | None = None) -> Data:
    """Return the digits as images (n, 1, 8, 8) in [0, 1]: 1,257 + 180 + 360, always the same split.

    Args:
        folder: Not used: the images are part of the package.
    """
    del folder
    with gzip.open(Path(__file__).with_name("digits.csv.gz")) as stream:
        table = torch.from_numpy(np.loadtxt(stream, dtype=np.uint8, delimiter=","))
    images, labels = table[:, :64].reshape(-1, 1, 8, 8).float() / 16, table[:, 64].long()

    rest, test = hold_out(labels, TEST_PER_CLASS, seed=0)
    train, validation = hold_out(labels[rest], VALIDATION_PER_CLASS, seed=1)
    train, validation = rest[train], rest[validation]
    return Data(
        name="scikit-learn digits",
        train=Split(images[train], labels[train]),
        validation=Split(images[validation], labels[validation]),
        test=Split(images[test], labels[test]),
        classes=tuple("0123456789"),
    )


def load_vectors(folder: Path | None = None) -> Data:
    """Return the digits as vectors (n, 64) in [0, 1]; otherwise as `load_images`."""
    data = load_images(folder)

    def flat(part: Samples) -> Split:
        images, labels = part.batch(slice(None))
        return Split(images.flatten(1), labels)

    return data.mapped(flat)


def mlp(inputs: int = 64) -> nn.Module:
    """Return a network from vectors to 10 logits, with three hidden layers of width 128."""
    return nn.Sequential(
        nn.Linear(inputs, 128),
        nn.Tanh(),
        nn.Linear(128, 128),
        nn.Tanh(),
        nn.Linear(128, 128),
        nn.Tanh(),
        nn.Linear(128, 10),
    )


def convnet() -> nn.Module:
    """Return a network from images (1, 8, 8) to 10 logits, with two convolutions and a hidden
    layer.
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


DIGITS_MLP = Task(
    name="digits-mlp",
    summary="scikit-learn's 8x8 digits (embedded), four linear layers",
    load=load_vectors,
    model=mlp,
    epochs=30,
    batch_size=64,
    learning_rate=5e-3,
)

DIGITS_CONV = Task(
    name="digits-conv",
    summary="scikit-learn's 8x8 digits (embedded), two convolutions and two linear layers",
    load=load_images,
    model=convnet,
    epochs=20,
    batch_size=64,
    learning_rate=3e-3,
)
