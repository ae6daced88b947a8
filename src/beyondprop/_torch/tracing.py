"""Where a forward pass is not simply run: traced, exported or transformed by `torch.func`.

What comes of it would teach by plain backprop, or fail in words that name no way out.
"""

from collections.abc import Callable
from operator import call

import torch
from torch import Tensor
from torch.fx import Proxy

from beyondprop.errors import UserError

TRACERS: tuple[Callable[[], object], ...] = (
    torch.compiler.is_exporting,
    torch._C._get_tracing_state,
    torch._C._functorch.peek_interpreter_stack,
)
"""Each returns something true where PyTorch exports, traces or transforms what it is asked to run.

For the last two there is no public way to ask.
"""


def check_run(x: object) -> None:
    """See that a forward pass that is to be taught is run, by this process, as it stands.

    Args:
        x: A tensor in it.

    Raises:
        UserError: It is traced, exported or transformed.
    """
    if torch.compiler.is_dynamo_compiling():
        return
    if any(map(call, TRACERS)) or (not isinstance(x, Tensor) and isinstance(x, Proxy)):
        raise traced()


def traced() -> UserError:
    """Return the error for a forward pass that is not simply run."""
    return UserError(
        "a model with rules attached is traced, exported or transformed by torch.func, and what "
        "comes of it would not learn by them: do it inside exact_gradients(model) or "
        "torch.no_grad(), or call remove() on the handle first"
    )


def no_second_derivative() -> UserError:
    """Return the error for a backward pass under a rule that is to be differentiated again.

    In such a pass (`create_graph=True`) gradients are switched on.
    """
    return UserError(
        "create_graph=True asks for derivatives of what a rule teaches, which have no meaning: "
        "leave it out, or run the forward pass inside exact_gradients(model)"
    )
