"""Walks through the graph that autograd has built."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.errors import UserError


@eager
def that_teach(tensors: Sequence[Tensor]) -> list[int]:
    """Return which of the tensors that a block returned are to be taught.

    These are the first, and each other one by which parameters learn that none before it reaches.
    What else a block returns (attentions, a position bias, a last state) is only handed on.

    Args:
        tensors: What the block returned, in order.

    Raises:
        UserError: The block was compiled before it ever ran, so that this cannot be seen.
    """
    if is_hidden(tensors):
        raise UserError(
            "a block returns several tensors, and compiled code hides which of them its parameters "
            "lead to: run one batch before torch.compile, for example by measure.check_batch"
        )
    found: list[int] = []
    reached: set[int] = set()
    for i, tensor in enumerate(tensors):
        behind = {id(leaf) for leaf in parameters_behind(tensor)}
        if behind - reached:
            found.append(i)
        reached |= behind
    return found or [0]


def is_hidden(tensors: Sequence[Tensor]) -> bool:
    """Whether compiled code has made several of the tensors, so that none shows its own graph."""
    nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    return len(set(nodes)) < len(nodes) and "Compiled" in type(nodes[0]).__name__


def parameters_behind(tensor: Tensor, up_to_output: bool = False) -> Iterator[Tensor]:
    """Yield the leaves that a backward pass from here would reach.

    Args:
        tensor: Where it begins.
        up_to_output: Leave out what lies behind an output that carries an error.

    Raises:
        UserError: A part of the graph is not built yet.
    """
    nodes, seen = [tensor.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen or getattr(node, "replaces_gradient", False):
            continue  # what arrives there is replaced by a rule's signal
        if up_to_output and getattr(node, "takes_scale", False):
            continue
        seen.add(node)
        if type(node).__name__ == "CheckpointFunctionBackward":
            raise UserError(
                "reentrant checkpointing runs blocks where their rules do not see them: "
                "use checkpoint(..., use_reentrant=False)"
            )
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            yield leaf
        nodes += [following for following, _ in node.next_functions]
