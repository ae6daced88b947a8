"""BioTorch, the peer library: conversion of a model, and its loss as in its own training loop.

    pip install --no-deps biotorch==0.0.16

Two of its modules are imported, `biotorch.module.biomodule` and its dependency. They need only
PyTorch, so `--no-deps` is enough (torchvision, torchattacks, jupyter and others are for its models
and notebooks), and they run unchanged on PyTorch 2.13. Two workarounds are not part of the step:
its output during conversion is discarded, and so is PyTorch's warning that the kind of hook in its
DFA is deprecated.
"""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version

from torch import Tensor, nn

from beyondprop.errors import UserError

Loss = Callable[[Tensor, Tensor], Tensor]

NAME = "BioTorch"
MODES = ("fa", "dfa", "usf", "brsf", "frsf")


def installed() -> str:
    """Return BioTorch's version.

    Raises:
        UserError: It is not installed.
    """
    if importlib.util.find_spec("biotorch") is None:
        raise UserError(
            "BioTorch, the peer of this benchmark, is not installed; "
            "run: pip install --no-deps biotorch==0.0.16"
        )
    return version("biotorch")


def convert(
    model: nn.Module, mode: str, outputs: int, inputs: Tensor, targets: Tensor, loss: Loss
) -> tuple[nn.Module, Callable[[], Tensor]]:
    """Return the model as converted by BioTorch, with its weights, and a function for its loss.

    Args:
        model: The model; its linear layers and convolutions are replaced.
        mode: One of `MODES`.
        outputs: Width of its output.
        inputs: One batch.
        targets: The batch's targets.
        loss: Returns a scalar from (outputs, targets).
    """
    biomodule = import_module("biotorch.module.biomodule")
    with contextlib.redirect_stdout(io.StringIO()):
        # `output_dim` is only read for DFA.
        network: nn.Module = biomodule.BioModule(model, mode=mode, output_dim=outputs)

    def directly() -> Tensor:
        return loss(network(inputs, targets, loss), targets)

    def layer_by_layer() -> Tensor:
        return loss(network(inputs), targets)

    return network.module, directly if mode == "dfa" else layer_by_layer


@contextlib.contextmanager
def ignore_hook_warning() -> Iterator[None]:
    """Ignore PyTorch's warning about the deprecated hooks of BioTorch's DFA."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using a non-full backward hook", FutureWarning)
        yield
