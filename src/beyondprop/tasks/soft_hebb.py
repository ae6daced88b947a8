"""Tasks whose networks learn by competition, as SoftHebb requires.

Journé, Garcia Rodriguez, Guo and Moraitis, "Hebbian deep learning without feedback", 2023. All
layers learn by plain SGD, which performs the released program's update. The paper trains in two
phases, hidden layers for one epoch and then the readout by Adam for fifty; here both learn
together.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import SGD, Optimizer

from beyondprop.errors import UserError
from beyondprop.models.soft_hebb import CHANNELS, soft_hebb_mlp, soft_hebb_network
from beyondprop.tasks.base import Task
from beyondprop.tasks.cifar import load_cifar10
from beyondprop.tasks.digits import load_vectors
from beyondprop.tasks.mnist import load_mnist
from beyondprop.tasks.optimizers import Sgd

WIDTH = 0.25
"""Width relative to the paper's."""
READ_OUT = 0.01
"""The readout's learning rate; those of the authors' three convolutions follow."""
RATES = dict(
    zip((int(WIDTH * channels) for channels in CHANNELS), (0.08, 0.005, 0.01), strict=True)
)


def sgd_by_layer(parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
    """Return plain SGD with the authors' ratio of each convolution's rate to that of the readout.

    Args:
        parameters: Parameters of a network of width `WIDTH`, or of some of its layers; a
            convolution is identified by its number of channels.
        learning_rate: Learning rate of the readout.

    Raises:
        UserError: A convolution has another number of channels.
    """
    groups: list[dict[str, Any]] = []
    for p in parameters:
        if p.dim() == 4 and len(p) not in RATES:
            raise UserError(
                f"the authors give no rate for a convolution of {len(p)} channels: give the task "
                "optimizer= with explicit rates"
            )
        rate = RATES[len(p)] / READ_OUT if p.dim() == 4 else 1
        groups.append({"params": [p], "lr": learning_rate * rate})
    return SGD(groups, lr=learning_rate)


def digits() -> nn.Module:
    """Return a network from vectors of length 64 to 10 logits, with three hidden layers of width
    128.
    """
    return soft_hebb_mlp(64, 128, 3)


def mnist() -> nn.Module:
    """Return a network from images (1, 28, 28) to 10 logits, with three convolutions of a quarter
    of the paper's width.
    """
    return soft_hebb_network(1, 28, WIDTH)


def cifar() -> nn.Module:
    """Return a network from images (3, 32, 32) to 10 logits, with three convolutions of a quarter
    of the paper's width.
    """
    return soft_hebb_network(3, 32, WIDTH)


DIGITS_SOFT_HEBB = Task(
    name="digits-softhebb",
    summary="scikit-learn's 8x8 digits (embedded), three layers that compete and a read-out",
    load=load_vectors,
    model=digits,
    epochs=30,
    batch_size=64,
    learning_rate=0.3,
    optimizer=Sgd(momentum=0),
)

MNIST_SOFT_HEBB = Task(
    name="mnist-softhebb",
    summary="MNIST's 28x28 digits, three convolutions that compete and a read-out",
    load=load_mnist,
    model=mnist,
    epochs=2,
    batch_size=10,
    learning_rate=READ_OUT,
    optimizer=sgd_by_layer,
)

CIFAR_SOFT_HEBB = Task(
    name="cifar-softhebb",
    summary="CIFAR-10's 32x32 colour images, three convolutions that compete and a read-out",
    load=load_cifar10,
    model=cifar,
    epochs=2,
    batch_size=10,
    learning_rate=READ_OUT,
    optimizer=sgd_by_layer,
)
