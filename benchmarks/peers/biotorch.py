"""BioTorch, the peer: a model converted by it, and its loss as its own training loop takes it.

    pip install --no-deps biotorch==0.0.16

Two of its modules are imported, `biotorch.module.biomodule` and what that needs. They need PyTorch
only, so `--no-deps` will do (torchvision, torchattacks, jupyter and others are for its models and
notebooks), and they run on PyTorch 2.13 unchanged. Two things are worked around, neither in the
step: what it prints when it converts a model is thrown away, and so is PyTorch's warning that the
kind of hook its DFA hangs on is deprecated.
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
    """Return the model as BioTorch converts it, with its weights, and a function for its loss.

    Args:
        model: Its linear layers and convolutions are replaced.
        mode: One of `MODES`.
        outputs: Width of its output.
        inputs: One batch.
        targets: Its targets.
        loss: (outputs, targets) to a scalar.
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
