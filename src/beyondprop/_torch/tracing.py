"""Checks for forward passes that are traced, exported or transformed by `torch.func`.

The result would train by plain backprop, or fail with an unhelpful message.
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
"""Each returns a true value while PyTorch exports, traces or transforms a function.

The last two have no public equivalent.
"""


def check_run(x: object) -> None:
    """Check that a taught forward pass is executed directly.

    Args:
        x: A tensor in the pass.

    Raises:
        UserError: The pass is traced, exported or transformed.
    """
    if torch.compiler.is_dynamo_compiling():
        return
    if any(map(call, TRACERS)) or (not isinstance(x, Tensor) and isinstance(x, Proxy)):
        raise traced()


def traced() -> UserError:
    """Return the error for a forward pass that is traced, exported or transformed."""
    return UserError(
        "a model with rules attached is traced, exported or transformed by torch.func, and the "
        "result would not learn by these rules: call handle.remove() first, or do it inside "
        "bp.exact_gradients(model) or torch.no_grad()"
    )


def refuse_export() -> None:
    """Refuse an export; call it if `torch.compiler.is_exporting()`, which is a cheap check.

    Raises:
        UserError: Always.
    """
    raise traced()


# Set as by torch.compiler.assume_constant_result, which would load the compiler. In a strict
# export the compiler then runs the function, and its error reaches the user unchanged.
refuse_export._dynamo_marked_constant = True  # type: ignore[attr-defined]


def no_second_derivative() -> UserError:
    """Return the error for a backward pass under a rule that would be differentiated again.

    In such a pass (`create_graph=True`) gradients are enabled.
    """
    return UserError(
        "create_graph=True requests derivatives of a rule's signals, which have no meaning: "
        "leave it out, or run the forward pass inside bp.exact_gradients(model)"
    )
