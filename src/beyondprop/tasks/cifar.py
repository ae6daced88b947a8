"""CIFAR-10, with two networks for it.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from beyondprop.models import transformer
from beyondprop.models.resnet import BLOCKS, resnet20
from beyondprop.models.vgg import vgg8b, vgg8b_narrow
from beyondprop.tasks.augment import crop_and_flip
from beyondprop.tasks.base import Task
from beyondprop.tasks.cifar_files import CIFAR10, Cifar
from beyondprop.tasks.mnist import mean_and_std
from beyondprop.tasks.optimizers import Sgd
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import hold_out

VALIDATION_PER_CLASS = 500  # of 5,000
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def load_cifar10(folder: Path | None = None) -> Data:
    """CIFAR-10, 45,000 + 5,000 + 10,000; see `load`."""
    return load(CIFAR10, VALIDATION_PER_CLASS, folder)


def load(source: Cifar, validation_per_class: int, folder: Path | None = None) -> Data:
    """Return images (n, 3, 32, 32), each channel standardised by the training split's mean and
    deviation.

    Args:
        source: The data set's files.
        validation_per_class: Training images of each class that are held out for validation, always
            the same ones.
        folder: Location of the files; None for the default locations, see `data.find`.

    Returns:
        The data; its name says so if only the lossy JPEG version was found.

    Raises:
        UserError: The files are missing, damaged, or not the published ones.
    """
    name, train, test = source.read(folder)
    left, held = hold_out(train.labels, validation_per_class, seed=0)
    scale = [mean_and_std(train.images[left, channel]) for channel in range(3)]
    mean, std = torch.tensor(scale).reshape(3, 2, 1, 1).unbind(1)

    def split(pixels: Tensor, labels: Tensor) -> Split:
        return Split(pixels.float().sub_(mean).div_(std), labels)

    return Data(
        name=name,
        train=split(train.images[left], train.labels[left]),
        validation=split(train.images[held], train.labels[held]),
        test=split(test.images, test.labels),
        classes=CLASSES,
    )


def lenet() -> nn.Module:
    """Return a network from images (3, 32, 32) to 10 logits, with two convolutions and two hidden
    layers.

    LeNet-5 (LeCun et al. 1998) as used in studies of feedback alignment: ReLU and max pooling.
    """
    return nn.Sequential(
        nn.Conv2d(3, 6, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


CIFAR_CONV = Task(
    name="cifar-conv",
    summary="CIFAR-10's 32x32 colour images, two convolutions and three linear layers",
    load=load_cifar10,
    model=lenet,
    epochs=12,
    batch_size=128,
    learning_rate=0.05,
    optimizer=Sgd(weight_decay=5e-4),
    optimizers=("adam", {"optimizer": "sgd", "weight_decay": 5e-4}),
)

CIFAR_RESNET20 = Task(
    name="cifar-resnet20",
    summary="CIFAR-10's 32x32 colour images, augmented, ResNet-20",
    load=load_cifar10,
    model=resnet20,
    blocks=BLOCKS,
    epochs=100,  # published: about 180 (64,000 steps)
    batch_size=128,
    learning_rate=0.1,
    optimizer=Sgd(weight_decay=5e-4),
    augment=crop_and_flip,
)

CIFAR_VGG8 = Task(
    name="cifar-vgg8",
    summary="CIFAR-10's 32x32 colour images, augmented, six convolutions (VGG8b)",
    load=load_cifar10,
    model=vgg8b,
    epochs=100,  # published: 400
    batch_size=128,
    learning_rate=5e-4,
    augment=crop_and_flip,
)

CIFAR_VGG8_NARROW = Task(
    name="cifar-vgg8-narrow",
    summary="CIFAR-10's 32x32 colour images, VGG8b at an eighth of its width",
    load=load_cifar10,
    model=vgg8b_narrow,
    epochs=5,
    batch_size=128,
    learning_rate=1.5e-3,
)

CIFAR_VIT = Task(
    name="cifar-vit",
    summary="CIFAR-10's 32x32 colour images, augmented, 64 patches, a small ViT of six layers",
    load=load_cifar10,
    model=partial(transformer.vit, 32, patch=4, width=128, layers=6, heads=4, classes=len(CLASSES)),
    blocks=transformer.BLOCKS,
    axes="batch tokens features",
    epochs=50,
    batch_size=128,
    learning_rate=1e-3,
    augment=crop_and_flip,
)
