"""MNIST and Fashion-MNIST, with a network for them.

MNIST: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
recognition", 1998. Fashion-MNIST: Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from beyondprop.tasks import data, idx
from beyondprop.tasks.base import Task
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import hold_out

VALIDATION_PER_CLASS = 500  # of about 6,000
DIGITS = tuple("0123456789")
ARTICLES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
OTHERS = {name: name.replace("-idx", ".idx") for name in FILES}
"""Alternative file names, under which the files were first published."""

MNIST = data.FileSource(
    name="MNIST",
    folders=("mnist", "MNIST/raw"),  # the second is torchvision's
    files=dict(
        zip(
            FILES,
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            strict=True,
        )
    ),
    urls=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    others=OTHERS,
)

FASHION = data.FileSource(
    name="Fashion-MNIST",
    folders=("fashion-mnist", "FashionMNIST/raw"),
    files=dict(
        zip(
            FILES,
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            strict=True,
        )
    ),
    urls=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    others=OTHERS,
)


def load_mnist(folder: Path | None = None) -> Data:
    """MNIST, 55,000 + 5,000 + 10,000; see `load`."""
    return load(MNIST, DIGITS, VALIDATION_PER_CLASS, folder)


def load_fashion(folder: Path | None = None) -> Data:
    """Fashion-MNIST, 55,000 + 5,000 + 10,000; see `load`."""
    return load(FASHION, ARTICLES, VALIDATION_PER_CLASS, folder)


def load(
    source: data.FileSource,
    classes: tuple[str, ...],
    validation_per_class: int,
    folder: Path | None = None,
) -> Data:
    """Return images (n, 1, 28, 28), standardised by the training split's mean and standard
    deviation.

    Args:
        source: The data set and its four IDX files.
        classes: Names of the classes.
        validation_per_class: Training images of each class that are held out for validation, always
            the same ones.
        folder: Location of the files; None for the default locations, see `data.find`.

    Raises:
        UserError: The files are missing, damaged, or not the published ones.
    """
    paths = data.find(source, folder)
    images, labels, test_images, test_labels = (
        torch.from_numpy(idx.read(paths[name], source.files[name])) for name in FILES
    )
    train, validation = hold_out(labels, validation_per_class, seed=0)
    mean, std = mean_and_std(images[train])

    def split(pixels: Tensor, targets: Tensor) -> Split:
        return Split(pixels.unsqueeze(1).float().sub_(mean).div_(std), targets.long())

    return Data(
        name=source.name,
        train=split(images[train], labels[train]),
        validation=split(images[validation], labels[validation]),
        test=split(test_images, test_labels),
        classes=classes,
    )


def mean_and_std(pixels: Tensor) -> tuple[float, float]:
    """Return the mean and deviation of uint8 values, exactly, from their histogram."""
    counts = torch.bincount(pixels.flatten(), minlength=256).double()
    levels, total = torch.arange(256).double(), counts.sum()
    mean = (counts @ levels) / total
    variance = (counts @ (levels - mean).square()) / total
    return mean.item(), variance.sqrt().item()


def mlp() -> nn.Module:
    """Return a network from images (1, 28, 28) to 10 logits, with two hidden layers of width
    512.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 512),
        nn.Tanh(),
        nn.Linear(512, 512),
        nn.Tanh(),
        nn.Linear(512, 10),
    )


MNIST_MLP = Task(
    name="mnist-mlp",
    summary="MNIST's 28x28 digits, three linear layers",
    load=load_mnist,
    model=mlp,
    epochs=10,
    batch_size=128,
    learning_rate=2e-3,
)

FASHION_MLP = Task(
    name="fashion-mlp",
    summary="Fashion-MNIST's 28x28 articles of clothing, three linear layers",
    load=load_fashion,
    model=mlp,
    epochs=10,
    batch_size=128,
    learning_rate=2e-3,
)
