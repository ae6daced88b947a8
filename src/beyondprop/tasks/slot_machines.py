"""Tasks whose networks learn by choosing among fixed random weights.

Aladago and Torresani, "Slot machines: discovering winning combinations of random weights in neural
networks", 2021.
"""

from torch import nn

from beyondprop import slots
from beyondprop.tasks.adult import INPUTS, Census
from beyondprop.tasks.base import Task
from beyondprop.tasks.digits import load_vectors, mlp
from beyondprop.tasks.kinds import mlp as mlp_of
from beyondprop.tasks.mnist import load_mnist
from beyondprop.tasks.optimizers import Sgd

PUBLISHED = Sgd(weight_decay=1e-4)
"""As in the paper; the released code has no weight decay."""


def digits() -> nn.Module:
    """Return the network of digits-mlp with eight fixed values for each weight."""
    return slots.convert(mlp()).model


def lenet_300_100() -> nn.Sequential:
    """Return a network from images (1, 28, 28) to 10 logits, with hidden layers of 300 and 100."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def adult() -> nn.Module:
    """Return the network of adult-mlp with eight fixed values for each weight."""
    return slots.convert(mlp_of(INPUTS, 2)).model


def mnist() -> nn.Module:
    """Return LeNet-300-100 with eight fixed values for each weight."""
    return slots.convert(lenet_300_100()).model


DIGITS_SLOTS = Task(
    name="digits-slots",
    summary="scikit-learn's 8x8 digits (embedded), four linear slot machines",
    load=load_vectors,
    model=digits,
    epochs=30,
    batch_size=64,
    learning_rate=0.2,
    optimizer=PUBLISHED,
)

MNIST_SLOTS = Task(
    name="mnist-slots",
    summary="MNIST's 28x28 digits, three linear slot machines (LeNet-300-100)",
    load=load_mnist,
    model=mnist,
    epochs=10,
    batch_size=128,
    learning_rate=0.2,
    optimizer=PUBLISHED,
)

ADULT_SLOTS = Task(
    name="adult-slots",
    summary="the adult census table of adult-mlp, three linear slot machines",
    load=Census(),
    model=adult,
    epochs=5,
    batch_size=128,
    learning_rate=0.2,
    optimizer=PUBLISHED,
)
