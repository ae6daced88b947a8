"""Checks on the graph of a forward pass: no gradient may bypass the end of a block."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from beyondprop._torch.modules import has_parameters
from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block
from beyondprop.engine.detach import Taught
from beyondprop.engine.ports import Output, behind, learn_before
from beyondprop.engine.walk import parameters_behind
from beyondprop.errors import UserError


def check_ends(
    taught: Mapping[Block, Taught],
    ended: Collection[Block],
    ties: Sequence[Tensor],
    blocks: Sequence[Block | None],
    outputs: Iterable[Tensor],
) -> set[int]:
    """Check that the parameters of each block whose graph ends are reached only through its end.

    Args:
        taught: The blocks whose graphs end.
        ended: Those of them whose ends were reached.
        ties: The tensors that tie the ends to the outputs.
        blocks: The block of each tie.
        outputs: The model's outputs.

    Returns:
        The identities of all parameters that learn.

    Raises:
        UserError: Another path leads to them, so they would silently learn by backprop; or a block
            is never called, such as an `nn.ModuleList`.
    """
    owners = {id(p): block for block in taught for _, p in block.parameters()}
    starts: list[tuple[Block | None, Tensor]] = [(None, tensor) for tensor in outputs]
    starts += zip(blocks, ties, strict=True)
    reached = set()
    for home, start in starts:
        for leaf in parameters_behind(start):
            reached.add(id(leaf))
            owner = owners.get(id(leaf))
            if owner is not None and owner is not home:
                if owner not in ended:
                    raise UserError(never_called(owner))
                raise UserError(
                    f"a gradient bypasses the end of the graph of block '{owner.name}': a block "
                    "may pass tensors on only by returning them, in tuples, lists, mappings or "
                    "dataclasses, and blocks must be named in the order they run"
                )
    return reached


def check_reached(
    model: nn.Module,
    blocks: Sequence[Block],
    output: Output | None,
    reached: Collection[int],
    cut: Iterable[Any],
) -> None:
    """Check that trainable parameters before the end of a graph get a gradient.

    Parameters that the pass did not use are ignored, and so are those after the output.

    Args:
        model: The model.
        blocks: Its blocks.
        output: The module whose output carries the error; None for the model.
        reached: The identities of all parameters that learn.
        cut: The outputs of the blocks whose graphs end, with these graphs.

    Raises:
        UserError: A parameter gets none.
    """
    owners = {id(p): block for block in blocks for _, p in block.parameters()}
    used = {id(leaf) for each in leaves(cut) for leaf in parameters_behind(each)}
    lost = used - set(reached) - _behind(model, output)
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    starved = [name for each, name in names.items() if each in lost and _hears(owners.get(each))]
    alone = [name for each, name in names.items() if each in lost and each not in owners]
    if starved:
        raise UserError(
            f"'{starved[0]}' would silently stop learning, as no later block sends a gradient back "
            "to it: give it Frozen() too, or a rule with its own signal"
        )
    if alone and output is not None and learn_before(blocks):
        raise UserError(
            f"no block holds {', '.join(alone)}, and no later block teaches them, so they would "
            "silently stop learning: name them in blocks=, or in a pattern with Backprop() or "
            "Frozen()"
        )


def _hears(block: Block | None) -> bool:
    """Whether a block learns from the gradient that the next one sends back."""
    return block is not None and block.rule.traits.learns and not block.rule.traits.ends_graph


def _behind(model: nn.Module, output: Output | None) -> set[int]:
    """Return the identities of parameters after the output, which may be tied to others."""
    if output is None:
        return set()
    modules = map(model.get_submodule, behind(model, output))
    return {id(p) for module in modules for p in module.parameters(recurse=False)}


def never_called(block: Block) -> str:
    """Return the message for a block whose last module never ran."""
    end, module = block.ways[-1]
    what = f"block '{block.name}'" + (f" ends in '{end}', which" if end != block.name else "")
    if any(has_parameters(child) for child in module.children()):
        return f"{what} was never called: name its children instead: '{end}.*'"
    return f"{what} was never called: name modules that the model's forward pass calls"


def passes_the_ends(taught: Mapping[Block, Taught], tensor: Tensor) -> bool:
    """Whether a tensor's gradient reaches taught blocks without passing the attached output.

    Args:
        taught: The blocks whose graphs end.
        tensor: One that the model returns.
    """
    owned = {id(p) for block in taught for _, p in block.parameters()}
    return any(id(leaf) in owned for leaf in parameters_behind(tensor, up_to_output=True))
