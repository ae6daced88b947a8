"""Choosing the blocks of a model."""

from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from beyondprop._torch.modules import children, has_parameters, inside, is_chain
from beyondprop.core import Block, Rule
from beyondprop.errors import UserError
from beyondprop.layers import NORMS
from beyondprop.rules.backprop import Backprop
from beyondprop.shapes import (
    SEQUENCE_FIRST,
    SOURCE,
    TOKENS,
    UNSURE,
    Axes,
    axes_of,
    parse,
    sequence_first,
)

Named = str | tuple[str, ...]
"""Names of blocks: a pattern, each match of which is a block, or the modules of one block."""

JOINS = (*NORMS, nn.PReLU)
"""Layers that join the block before them although they have parameters."""


def default_patterns(model: nn.Module, rule: Rule) -> list[str] | None:
    """Return the names of the default blocks, or None if there is no safe default."""
    if is_chain(model) or not rule.traits.ends_graph:
        own = [n for n, _ in model.named_parameters(recurse=False)]
        return own + [n for n, m in children(model) if has_parameters(m) and not _joins(model, m)]
    return None


def choose(model: nn.Module, rules: Mapping[Named, Rule], problems: list[str]) -> list[Block]:
    """Return the blocks that the patterns name, in the order of the patterns.

    A pattern names modules by `fnmatch` (its ``*`` matches dots too). Of nested matches only the
    outermost is a block, and modules that an earlier pattern matched are skipped. A pattern for
    `Backprop` may name parameters too. A tuple names the modules of one block.

    Args:
        model: The model.
        rules: The rule of each pattern or tuple.
        problems: A sentence for each error is appended here.
    """
    blocks: list[Block] = []
    named = {name for each in rules for name in ((each,) if isinstance(each, str) else each)}
    for pattern, rule in rules.items():
        if not isinstance(pattern, str):
            blocks += _of_modules(model, pattern, rule, blocks, problems)
            continue
        new = _matching_modules(model, pattern, rule, blocks, named)
        loose = _matching_parameters(model, pattern, [*blocks, *new])
        if loose and not rule.traits.ends_graph:
            new.append(Block(loose[0], rule, (), model, tuple(loose)))
        elif loose:
            problems.append(
                f"'{pattern}' names the parameter '{loose[0]}', but {type(rule).__name__} teaches "
                "modules: give the parameter Backprop() in a separate pattern before this one"
            )
        elif not new:
            problems.append(_no_match(model, pattern))
        blocks += new
    return blocks


def _of_modules(
    model: nn.Module,
    names: tuple[str, ...],
    rule: Rule,
    taken: Sequence[Block],
    problems: list[str],
) -> list[Block]:
    """Return the block of these modules, which run in this order; the last makes its output.

    If the last module contains the others, it ends the block, but its other parts do not belong to
    the block.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    parameters = dict(model.named_parameters())
    around = None
    outer = len(names) > 1 and all(n != names[-1] and inside(n, names[-1]) for n in names[:-1])
    if outer and names[-1] in modules:
        around, names = (names[-1], modules[names[-1]]), names[:-1]
    found = tuple((name, modules[name]) for name in names if name and name in modules)
    covered = [name for block in taken for name, _ in block.modules]
    problem = ""
    for name in names:
        if name in parameters:
            problem = f"names the parameter '{name}', but holds modules: name it outside the tuple"
        elif not name or name not in modules:
            problem = f"names '{name}', which is not a module"
        elif any(inside(name, other) or inside(other, name) for other in covered):
            problem = f"names '{name}', which another block holds, or itself already"
        covered.append(name)
    if not problem and not any(has_parameters(module) for _, module in found):
        problem = "has no parameters: name the module that it follows too"
    if problem:
        problems.append(f"the block {names} {problem}")
        loose = tuple(name for name in names if name in parameters)
        # Never attached; it keeps its parameters out of the error about parameters in no block.
        return [Block(names[0], rule, found, model, loose)] if found and loose else []
    return [Block(names[0], rule, found, model, around=around)]


def _joins(parent: nn.Module, module: nn.Module) -> bool:
    """Whether a child joins the block before it: activations and norms, but not the first child."""
    first = next(iter(parent.children()), None)
    return module is not first and isinstance(module, JOINS)


def _matching_modules(
    model: nn.Module, pattern: str, rule: Rule, taken: Sequence[Block], named: Set[str]
) -> list[Block]:
    names = [name for block in taken for name, _ in block.modules]
    hits = [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if name
        and fnmatchcase(name, pattern)
        and has_parameters(module)
        and not any(inside(name, other) or inside(other, name) for other in names)
    ]
    outermost = [
        (name, module)
        for name, module in hits
        if not any(name != other and inside(name, other) for other, _ in hits)
    ]
    blocks: list[Block] = []
    for name, module in outermost:
        if any(inside(name, other) for block in blocks for other, _ in block.modules):
            continue
        stops = named | {other for block in (*taken, *blocks) for other, _ in block.modules}
        modules = (
            *_leading(model, name, stops),
            (name, module),
            *_following(model, name, stops),
        )
        if not any(_same(modules, block.modules) for block in (*taken, *blocks)):
            blocks.append(Block(name, rule, modules, model))
    return blocks


def _same(a: Sequence[tuple[str, nn.Module]], b: Sequence[tuple[str, nn.Module]]) -> bool:
    return [id(module) for _, module in a] == [id(module) for _, module in b]


def _siblings(model: nn.Module, name: str) -> tuple[list[tuple[str, nn.Module]], int]:
    """Return a module's siblings in a chain and its place among them."""
    parent_name = name.rpartition(".")[0]
    parent = model.get_submodule(parent_name)
    if not is_chain(parent):
        return [], 0
    siblings = children(parent, parent_name)
    return siblings, [sibling for sibling, _ in siblings].index(name)


def _following(model: nn.Module, name: str, stops: Set[str]) -> list[tuple[str, nn.Module]]:
    """Return the activations, norms, poolings, … after a module in a chain, up to a stop."""
    siblings, place = _siblings(model, name)
    found = []
    for sibling in siblings[place + 1 :]:
        joins = isinstance(sibling[1], JOINS) or not has_parameters(sibling[1])
        if not joins or sibling[0] in stops:
            break
        found.append(sibling)
    return found


def _leading(model: nn.Module, name: str, stops: Set[str]) -> list[tuple[str, nn.Module]]:
    """Return the modules before a module, if it is the first with parameters in a chain."""
    siblings, place = _siblings(model, name)
    before = siblings[:place]
    first = not any(has_parameters(module) or other in stops for other, module in before)
    return before if first else []


def _matching_parameters(model: nn.Module, pattern: str, blocks: Sequence[Block]) -> list[str]:
    taken = {name for block in blocks for name, _ in block.modules}
    taken |= {name for block in blocks for name in block.loose}
    return [
        name
        for name, _ in model.named_parameters()
        if fnmatchcase(name, pattern) and not any(inside(name, other) for other in taken)
    ]


def _no_match(model: nn.Module, pattern: str) -> str:
    names = [name for name, module in model.named_modules() if name and has_parameters(module)]
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"block pattern '{pattern}' matches no module with parameters; there are: {shown}"


def ends_of_ties(model: nn.Module, blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks, with `Backprop` for those that share a parameter with an exact part.

    Exact parts are blocks whose graph does not end, such as the one that makes the output, and
    parameters in no block. A rule would give a shared parameter a signal that differs from its
    exact gradient there.
    """
    taught = [block for block in blocks if block.rule.traits.ends_graph]
    covers = [name for block in taught for name in (*(n for n, _ in block.modules), *block.loose)]
    exact = {
        id(parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not any(inside(name, cover) for cover in covers)
    }
    return [
        replace(block, rule=Backprop())
        if block in taught and any(id(p) in exact for _, p in block.parameters())
        else block
        for block in blocks
    ]


def placed(blocks: Sequence[Block], axes: str | Mapping[str, str] | None) -> list[Block]:
    """Return the blocks with the axes of their outputs and their depth.

    Args:
        blocks: In the order they run.
        axes: The user's names of axes, for all blocks or for each pattern of block names.

    Raises:
        UserError: The words are not known, or a pattern names no block.
    """
    said = {"*": axes} if isinstance(axes, str) else axes or {}
    model = blocks[0].owner
    unsure = sequence_first(model.modules())
    source = _encoder(model)
    for pattern in said:
        if not any(fnmatchcase(block.name, pattern) for block in blocks):
            names = ", ".join(block.name for block in blocks)
            raise UserError(f"axes= names no block by '{pattern}'; there are: {names}")
    taught = [b for b in blocks if b.rule.traits.ends_graph and b.rule.traits.learns]
    last = max(1, len(taught) - 1)
    return [
        replace(
            block,
            axes=_axes_of(block, said, source, unsure),
            depth=taught.index(block) / last if block in taught else 0.0,
        )
        for block in blocks
    ]


def _axes_of(
    block: Block, said: Mapping[str, str], encoder: Container[nn.Module], unsure: bool
) -> Axes:
    """Return the axes of a block's output.

    Args:
        block: The block.
        said: The user's names of axes, by pattern of block names.
        encoder: The modules of an encoder, whose tokens differ from those of the output.
        unsure: Whether layers of the model take tokens before the batch.
    """
    for pattern, words in said.items():
        if fnmatchcase(block.name, pattern):
            return parse(words)
    axes = axes_of([module for _, module in block.modules])
    if axes != TOKENS:
        return axes
    if any(module in encoder for _, module in block.modules):
        return SOURCE
    if not unsure:
        return axes
    first = sequence_first(module for _, module in block.named_modules())
    return SEQUENCE_FIRST if first else UNSURE


def _encoder(model: nn.Module) -> set[nn.Module]:
    """Return the modules of the encoder, if the model's configuration declares a decoder too."""
    config = getattr(model, "config", None)
    encoder: Any = getattr(model, "get_encoder", None)
    if encoder is None or not getattr(config, "is_encoder_decoder", False):
        return set()
    return set(encoder().modules())


def blocks_ended(blocks: Sequence[Block]) -> dict[nn.Module, list[Block | None]]:
    """Return the block that each call of a block's last module ends; None for a call inside a
    block.

    Blocks may share that module: its n-th call in a forward pass then belongs to the n-th of them.
    """
    ended: dict[nn.Module, list[Block | None]] = {
        block.ways[-1][1]: [] for block in blocks if block.modules
    }
    for block in blocks:
        for place, (_, module) in enumerate(block.ways, 1):
            if module in ended:
                ended[module].append(block if place == len(block.ways) else None)
    return ended
