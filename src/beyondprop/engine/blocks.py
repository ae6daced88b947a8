"""Choosing the blocks of a model."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from beyondprop.layers import NORMS
from beyondprop.random.streams import stream_of
from beyondprop.rules import Rule

JOINS = (*NORMS, nn.PReLU)
"""Layers with parameters that join the block before them all the same."""


@dataclass(frozen=True, eq=False)
class Block:
    """A part of a model that is taught as one.

    Attributes:
        name: Name of its first module (or parameter), as in `named_modules`.
        rule: What teaches it.
        modules: Names and modules, in the order they run; the last one's output is the block's.
        loose: Names of parameters that belong to no module of the block.
        owner: The model.
    """

    name: str
    rule: Rule
    modules: tuple[tuple[str, nn.Module], ...]
    owner: nn.Module
    loose: tuple[str, ...] = ()

    @property
    def tail(self) -> nn.Module | None:
        """The module whose output is the block's output."""
        return self.modules[-1][1] if self.modules else None

    @property
    def stream(self) -> int:
        """The number of the block's own random stream."""
        return stream_of(self.name)

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield every module in the block with its name in the model."""
        for name, module in self.modules:
            for inner, submodule in module.named_modules():
                yield f"{name}.{inner}" if inner else name, submodule

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return the block's parameters with their names in the model, each once."""
        found = {
            f"{name}.{inner}": parameter
            for name, module in self.modules
            for inner, parameter in module.named_parameters()
        }
        found |= {name: self.owner.get_parameter(name) for name in self.loose}
        return list({id(p): (name, p) for name, p in reversed(found.items())}.values())[::-1]


def is_chain(module: nn.Module) -> bool:
    """Whether the module calls its children one after another, each on the last one's output."""
    plain = type(module).forward is nn.Sequential.forward and "forward" not in vars(module)
    return isinstance(module, nn.Sequential) and plain


def default_patterns(model: nn.Module, rule: Rule) -> list[str] | None:
    """Return the names of the default blocks, or None where there is no safe default."""
    if is_chain(model) or not rule.cuts:
        own = [n for n, _ in model.named_parameters(recurse=False)]
        return own + [n for n, m in children(model) if has_parameters(m) and not _joins(model, m)]
    return None


def choose(model: nn.Module, rules: Mapping[str, Rule], problems: list[str]) -> list[Block]:
    """Return the blocks that the patterns name, in their order; append what is wrong to problems.

    A pattern names modules by `fnmatch` (its ``*`` matches dots too); of nested matches the
    outermost counts, and what an earlier pattern took is not taken again. A pattern for `Backprop`
    may name parameters as well.
    """
    blocks: list[Block] = []
    for pattern, rule in rules.items():
        new = _matching_modules(model, pattern, rule, blocks, set(rules))
        loose = _matching_parameters(model, pattern, [*blocks, *new])
        if loose and not rule.cuts:
            new.append(Block(loose[0], rule, (), model, tuple(loose)))
        elif loose:
            problems.append(
                f"'{pattern}' names the parameter '{loose[0]}', but {type(rule).__name__} teaches "
                "modules: give the parameter Backprop() in a pattern of its own"
            )
        elif not new:
            problems.append(_no_match(model, pattern))
        blocks += new
    return blocks


def children(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Return a module's children with their full names, repeated ones too."""
    direct = [
        (name, child)
        for name, child in module.named_modules(remove_duplicate=False)
        if name and "." not in name
    ]
    return [(f"{prefix}.{name}" if prefix else name, child) for name, child in direct]


def has_parameters(module: nn.Module) -> bool:
    """Whether the module holds any parameter."""
    return any(True for _ in module.parameters())


def inside(name: str, outer: str) -> bool:
    """Whether a dotted name is the outer one or lies within it."""
    return name == outer or name.startswith(f"{outer}.")


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
    """Return the activations, norms, poolings, … behind a module in a chain, up to a stop."""
    siblings, place = _siblings(model, name)
    found = []
    for sibling in siblings[place + 1 :]:
        joins = isinstance(sibling[1], JOINS) or not has_parameters(sibling[1])
        if not joins or sibling[0] in stops:
            break
        found.append(sibling)
    return found


def _leading(model: nn.Module, name: str, stops: Set[str]) -> list[tuple[str, nn.Module]]:
    """Return what stands before the first module with parameters in a chain."""
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
