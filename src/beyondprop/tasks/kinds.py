"""Kinds of targets, with the loss and the metric for each."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from beyondprop.errors import UserError
from beyondprop.rules import Classes, Criterion, Labels, Values
from beyondprop.tasks.metrics import accuracy, macro_f1, r_squared

WIDTH = 128


def label_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits ``(n, labels)`` for bool targets of that shape."""
    return binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype))


def scoring(kind: Criterion) -> dict[str, Any]:
    """Return the loss and metric fields of a task for this kind of targets.

    Raises:
        UserError: The kind is not one of the three.
    """
    found: dict[type[Criterion], tuple[Any, Any, str]] = {
        Classes: (cross_entropy, accuracy, "accuracy"),
        Labels: (label_loss, macro_f1, "macro-F1"),
        Values: (mse_loss, r_squared, "R²"),
    }
    if type(kind) not in found:
        raise UserError(
            f"kind must be Classes(), Labels() or Values(), not a {type(kind).__name__}: for "
            "others give a Task its own load, loss and metric"
        )
    return dict(zip(("loss", "metric", "metric_name"), found[type(kind)], strict=True))


def mlp(inputs: int, outputs: int) -> nn.Module:
    """Return a network from vectors to outputs, with two hidden layers of width 128."""
    return nn.Sequential(
        nn.Linear(inputs, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, outputs),
    )


def convnet(channels: int, size: int, outputs: int) -> nn.Module:
    """Return a network from images (channels, size, size) to outputs, with three convolutions."""
    side = size // 4
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, kernel_size=3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(min(4, side)),
        nn.Flatten(),
        nn.Linear(64 * min(4, side) ** 2, outputs),
    )
