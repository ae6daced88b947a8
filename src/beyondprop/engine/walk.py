"""Walks through autograd's graph."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.errors import UserError


@eager
def that_teach(tensors: Sequence[Tensor]) -> list[int]:
    """Return the indices of the tensors, among those a block returned, that must be taught.

    A tensor must be taught if its graph reaches parameters that no earlier tensor reaches; if there
    is none, the first is used. Other tensors (attentions, a position bias, a last state) are only
    passed on.

    Args:
        tensors: The block's outputs, in order.

    Raises:
        UserError: The block was compiled before its first run, which hides the graph.
    """
    if is_hidden(tensors):
        raise UserError(
            "a block returns several tensors, and compiled code hides which of them depend on its "
            "parameters: run one batch before torch.compile, for example by measure.check_batch"
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
    """Whether compiled code made several of the tensors, so that their own graphs are hidden."""
    nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    return len(set(nodes)) < len(nodes) and "Compiled" in type(nodes[0]).__name__


def parameters_behind(tensor: Tensor, up_to_output: bool = False) -> Iterator[Tensor]:
    """Yield the leaves that a backward pass from a tensor would reach.

    Args:
        tensor: The tensor.
        up_to_output: Stop at an output that carries an error.

    Raises:
        UserError: A part of the graph is not built yet.
    """
    nodes, seen = [tensor.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen or getattr(node, "replaces_gradient", False):
            continue  # a rule's signal replaces the gradient there
        if up_to_output and getattr(node, "takes_scale", False):
            continue
        seen.add(node)
        if type(node).__name__ == "CheckpointFunctionBackward":
            raise UserError(
                "reentrant checkpointing hides blocks from their rules: use "
                "checkpoint(..., use_reentrant=False)"
            )
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            yield leaf
        nodes += [following for following, _ in node.next_functions]
