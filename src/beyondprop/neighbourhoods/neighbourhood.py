"""Neighbourhoods: parts of a network that other modules can replace, consecutive or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from beyondprop._torch.modules import inside, is_chain, learning_copy
from beyondprop.errors import UserError

Pattern = str | tuple[str, ...]
"""A pattern of module names, each a neighbourhood; or a tuple of one neighbourhood's modules."""


@dataclass(frozen=True)
class Neighbourhood:
    """A part of a network that another module with the same interface can replace.

    Attributes:
        name: The name of its first module.
        modules: Names of its modules: one module, or consecutive modules of one `nn.Sequential`.
    """

    name: str
    modules: tuple[str, ...]

    def piece(self, model: nn.Module) -> nn.Module:
        """Return this part of a model: its module, or a chain of its modules, without copying."""
        found = [model.get_submodule(name) for name in self.modules]
        return found[0] if len(found) == 1 else nn.Sequential(*found)

    def put(self, model: nn.Module, piece: nn.Module) -> None:
        """Replace this part of a model, in place, by a piece.

        The other modules of a chain are replaced by `nn.Identity`.
        """
        model.set_submodule(self.modules[0], piece, strict=True)
        for name in self.modules[1:]:
            model.set_submodule(name, nn.Identity(), strict=True)


def split(teacher: nn.Module, blocks: Sequence[Pattern]) -> tuple[Neighbourhood, ...]:
    """Return the neighbourhoods that patterns name, in the order of the model's modules.

    Args:
        teacher: The complete model, which is not changed.
        blocks: `fnmatch` patterns of module names, such as ``"transformer.h.*"``; only the
            outermost matches count. A tuple names the modules of one neighbourhood, which must be
            consecutive in one `nn.Sequential`.

    Raises:
        UserError: A pattern matches nothing, neighbourhoods overlap, a module or a parameter is
            shared, or a tuple does not name consecutive modules of one chain.
    """
    if isinstance(blocks, str):
        raise UserError(f"blocks must be a list of names: [{blocks!r}]")
    if not blocks:
        raise UserError("blocks is empty: name at least one module of the model")
    known = dict(teacher.named_modules(remove_duplicate=False))
    found = [
        each
        for pattern in blocks
        for each in (
            _matching(known, pattern) if isinstance(pattern, str) else [_run(known, pattern)]
        )
    ]
    order = {name: place for place, name in enumerate(known)}
    found = sorted(dict.fromkeys(found), key=lambda each: order[each.name])
    _check_apart(found)
    _check_unshared(known, found)
    return tuple(found)


def merged(teacher: nn.Module, pieces: dict[Neighbourhood, nn.Module]) -> nn.Module:
    """Return a copy of the teacher with its neighbourhoods replaced by pieces.

    If the complete teacher is frozen, as by `requires_grad_(False)`, the copy is fully trainable.
    """
    model = learning_copy(teacher)
    for neighbourhood, piece in pieces.items():
        neighbourhood.put(model, piece)
    return model


def _matching(known: dict[str, nn.Module], pattern: str) -> list[Neighbourhood]:
    """Return a neighbourhood for each outermost module that matches the pattern."""
    hits = [name for name in known if name and fnmatchcase(name, pattern)]
    outermost = [
        name for name in hits if not any(name != other and inside(name, other) for other in hits)
    ]
    if not outermost:
        near = ", ".join(name for name in known if name.count(".") <= 1 and name)
        raise UserError(f"'{pattern}' names no module of the model, which has {near or 'none'}")
    return [Neighbourhood(name, (name,)) for name in outermost]


def _run(known: dict[str, nn.Module], names: tuple[str, ...]) -> Neighbourhood:
    """Return the neighbourhood of consecutive modules in a chain."""
    missing = [name for name in names if not name or name not in known]
    if missing or not names:
        raise UserError(
            f"the neighbourhood {names} names '{''.join(missing[:1])}', which is not a module"
        )
    parents = {name.rpartition(".")[0] for name in names}
    parent = known[min(parents)]
    inner = [name.rpartition(".")[2] for name in names]
    places = list(parent._modules)
    start = places.index(inner[0]) if inner[0] in places else 0
    if len(parents) > 1 or not is_chain(parent) or places[start : start + len(inner)] != inner:
        raise UserError(
            f"the neighbourhood {names} is not a run of modules in one nn.Sequential: name one "
            "module, or consecutive modules"
        )
    return Neighbourhood(names[0], names)


def _check_apart(found: Sequence[Neighbourhood]) -> None:
    """Raise if neighbourhoods overlap."""
    owners: dict[str, Neighbourhood] = {}
    for each in found:
        for name in each.modules:
            for other, owner in owners.items():
                if inside(name, other) or inside(other, name):
                    raise UserError(
                        f"the neighbourhoods '{owner.name}' and '{each.name}' both hold '{name}': "
                        "name each module once"
                    )
            owners[name] = each


def _check_unshared(known: dict[str, nn.Module], found: Sequence[Neighbourhood]) -> None:
    """Raise if a module or parameter of a neighbourhood is also used elsewhere in the model."""
    for each in found:
        own = {
            id(inner): inner_name
            for name in each.modules
            for inner_name, inner in known[name].named_modules(prefix=name)
        }
        parameters = {
            id(parameter): f"{name}.{inner}"
            for name in each.modules
            for inner, parameter in known[name].named_parameters()
        }
        for name, module in known.items():
            if any(inside(name, own_name) for own_name in each.modules):
                continue
            if id(module) in own:
                raise UserError(
                    f"'{own[id(module)]}' of the neighbourhood '{each.name}' is '{name}' too: a "
                    "shared module can't be replaced in one of its places; leave it out"
                )
            for inner, parameter in module.named_parameters(recurse=False):
                if id(parameter) in parameters:
                    raise UserError(
                        f"'{parameters[id(parameter)]}' of the neighbourhood '{each.name}' is "
                        f"'{name}.{inner}' too: a shared weight can't be trained in one of its "
                        "places; leave the neighbourhood out, or untie the weights first"
                    )
