"""Tasks by name."""

from difflib import get_close_matches

from beyondprop.errors import UserError
from beyondprop.registry import dotted
from beyondprop.tasks import (
    cifar,
    digits,
    goodness,
    mnist,
    random_features,
    slot_machines,
)
from beyondprop.tasks.base import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        digits.DIGITS_MLP,
        digits.DIGITS_CONV,
        mnist.MNIST_MLP,
        mnist.FASHION_MLP,
        cifar.CIFAR_CONV,
        cifar.CIFAR_RESNET20,
        cifar.CIFAR_VGG8,
        cifar.CIFAR_VGG8_NARROW,
        goodness.DIGITS_GOODNESS,
        goodness.MNIST_GOODNESS,
        goodness.CIFAR_GOODNESS,
        slot_machines.DIGITS_SLOTS,
        slot_machines.MNIST_SLOTS,
        random_features.DIGITS_OPTICAL_FEATURES,
        random_features.DIGITS_OPTICAL_COMPLETION,
        random_features.DIGITS_OPTICAL_DEFENCE,
        random_features.MNIST_OPTICAL_FEATURES,
        random_features.MNIST_OPTICAL_DEFENCE,
    )
}
"""Every registered task by its name, the default first."""


def find(name: str) -> Task:
    """The task of this name.

    Args:
        name: One of `TASKS`, or "my.module:attribute", looked up from the current directory; the
            attribute is a `Task` or a callable without arguments that returns one.

    Raises:
        UserError: There is no such task; the message lists what there is.
    """
    if name in TASKS:
        return TASKS[name]
    if ":" not in name:
        close = get_close_matches(name, TASKS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(
            f"there is no task {name!r}{hint} (known: {', '.join(TASKS)}; "
            "your own: my.module:attribute)"
        )
    found = dotted.resolve(name)
    if callable(found):
        try:
            found = found()
        except Exception as error:  # whatever the user's function does
            raise UserError(f"calling {name}() failed: {dotted.one_line(error)}") from error
    if not isinstance(found, Task):
        raise UserError(f"{name} is a {type(found).__name__}, not a beyondprop.tasks.Task")
    return found
