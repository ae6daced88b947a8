"""The embedded data set that separates rules: small images of clothing, half of them inverted.

6,000 images of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017) at half their size: the first 450
training and the first 150 test images of each class (MIT, see `fashion_small.NOTICE.txt`). Every
other image is inverted, black for white. No linear model and few fixed random features can undo
that, so the score shows whether a rule trains hidden layers.
"""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from beyondprop.models.transformer import BLOCKS, vit
from beyondprop.tasks import idx
from beyondprop.tasks.base import Task
from beyondprop.tasks.digits import mlp
from beyondprop.tasks.mnist import ARTICLES
from beyondprop.tasks.samples import Data, Samples, Split

CLASSES = len(ARTICLES)
SIDE = 14  # of an image, in pixels
TRAIN, VALIDATION = 4000, 500  # of 6,000; the rest is tested


def load(folder: Path | None = None) -> Data:
    """Return the images as vectors (n, 196) in [0, 1]: 4,000 + 500 + 1,500, always the same split.

    Args:
        folder: Not used: the images are part of the package.
    """
    del folder
    pixels = torch.from_numpy(idx.read(Path(__file__).with_name("fashion_small.idx.gz")))
    inputs = pixels.flatten(1).float() / 255  # (6000, 196)
    place = torch.arange(len(inputs))  # in the file, the classes alternate
    targets = place % CLASSES
    inverted = (place // CLASSES % 2 == 1).unsqueeze(1)
    inputs = torch.where(inverted, 1 - inputs, inputs)
    sizes = [TRAIN, VALIDATION, len(inputs) - TRAIN - VALIDATION]
    parts = zip(inputs.split(sizes), targets.split(sizes), strict=True)
    train, validation, test = (Split(*part) for part in parts)
    return Data("Fashion-MNIST, small, half inverted", train, validation, test, ARTICLES)


def load_images(folder: Path | None = None) -> Data:
    """Return the same data as images (n, 1, 14, 14)."""
    return load(folder).mapped(as_images)


def as_images(part: Samples) -> Split:
    """Return a split with images instead of vectors."""
    inputs, targets = part.batch(slice(len(part)))
    return Split(inputs.unflatten(1, (1, SIDE, SIDE)), targets)


def network() -> nn.Module:
    """Return the network of digits-mlp for vectors of length 196."""
    return mlp(196)


FASHION_SMALL = Task(
    name="fashion-small",
    summary="6,000 14x14 images of clothing (embedded), half inverted, four linear layers",
    load=load,
    model=network,
    epochs=20,
    batch_size=64,
    learning_rate=2e-3,
)

FASHION_SMALL_VIT = Task(
    name="fashion-small-vit",
    summary="the same 14x14 images, 49 patches, a small ViT of three layers",
    load=load_images,
    model=partial(vit, SIDE, patch=2, width=64, layers=3, heads=4, classes=CLASSES, channels=1),
    blocks=BLOCKS,
    axes="batch tokens features",
    epochs=15,
    batch_size=64,
    learning_rate=1e-3,
)
