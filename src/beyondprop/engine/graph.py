"""Seeing in the graph of a forward pass that no gradient can cross a cut."""

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from beyondprop.engine.blocks import Block
from beyondprop.engine.detach import Cut, Lesson
from beyondprop.errors import UserError


def check_cuts(cuts: Mapping[Block, Cut], lesson: Lesson, outputs: Iterable[Tensor]) -> None:
    """See that each cut block's parameters are reached through its own tap alone.

    Raises:
        UserError: Some other way leads to them; they would learn by backprop in silence.
    """
    owners = {id(p): block for block in cuts for _, p in block.parameters()}
    homes = {id(cut): block for block, cut in cuts.items()}
    starts: list[tuple[Block | None, Tensor]] = [(None, tensor) for tensor in outputs]
    starts += [(homes[id(cut)], tap) for cut, tap in zip(lesson.cuts, lesson.taps, strict=True)]
    for home, start in starts:
        for leaf in parameters_behind(start):
            owner = owners.get(id(leaf))
            if owner is not None and owner is not home:
                raise UserError(
                    f"a gradient reaches block '{owner.name}' past its cut: a block may hand its "
                    "tensors on only by what it returns, in tuples, lists, mappings or "
                    "dataclasses, and blocks must be named in the order they run"
                )


def parameters_behind(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the leaves that a backward pass from here would reach.

    Raises:
        UserError: A part of the graph is not built yet.
    """
    nodes, seen = [tensor.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
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
