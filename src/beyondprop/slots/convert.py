"""Turning the weights of a model into choices among fixed random values, and back."""

from collections.abc import Sequence

import torch
from torch import nn

from beyondprop.errors import UserError
from beyondprop.random.streams import stream_of
from beyondprop.slots import find, layers
from beyondprop.slots.kinds import Kind, Reels
from beyondprop.slots.machine import Machine, required
from beyondprop.slots.packing import bits_of
from beyondprop.slots.reel import Reel
from beyondprop.slots.selection import Greedy, Selection
from beyondprop.slots.source import Source
from beyondprop.slots.summary import ConvertReport, Row


def convert(
    model: nn.Module,
    slots: int | Kind = 8,
    selection: Selection | None = None,
    *,
    seed: int | None = None,
    exclude: Sequence[str] = (),
    plain: bool = False,
) -> Machine:
    """Turn every weight of a model into a choice among fixed random values, in place.

    The weights of linear, bilinear and convolutional layers, embeddings, attention projections and
    recurrent layers hold the chosen values from now on, as ordinary parameters under their own
    names; nothing is wrapped. They are learned by an optimizer under `drive`.

    Args:
        model: Any model; it is changed.
        slots: How many values a connection has, or a kind of weights: ``Reels(...)`` with all its
            options, ``Supermask(...)`` and its relatives.
        selection: How one of the values is chosen; `Greedy` unless given.
        seed: Decides all fixed values, with the parameters' names. None draws one by PyTorch's
            global generator.
        exclude: Names or patterns of modules and parameters that are left as they are.
        plain: Leave biases and the affine part of normalisation in, to learn as ever. Published
            slot machines have neither.

    Returns:
        The machine; print its ``report``.

    Raises:
        UserError: Listing all that stands in the way.
    """
    kind = _kind(slots, selection)
    if seed is None:
        seed = int(torch.randint(2**63 - 1, ()))
    excluded = find.Excluded(exclude)
    found, problems = find.weights(model, excluded)
    problems = [*find.model_problems(model, excluded, seed), *problems]
    if not found and not problems:
        problems = ["it has no weights that learn outside of what is excluded"]
    if problems:
        raise UserError(f"{type(model).__name__} cannot be converted: {'; '.join(problems)}")
    removed = [] if plain else _take_out(model, excluded)
    reels = _reels(model, found, kind, seed)
    machine = Machine(model, seed, reels, _report(model, kind, reels, removed), plain)
    machine.restart()
    return machine


def freeze(model: nn.Module) -> nn.Module:
    """Leave an ordinary model with the chosen weights, which learn no more; return it.

    Raises:
        UserError: The model was not converted.
    """
    for reel in required(model).reels:
        reel.parameter.requires_grad_(False)
        reel.parameter.grad = None  # an optimizer that holds it would go by it once more
    required(model).remove()
    return model


def finetune(model: nn.Module) -> nn.Module:
    """Leave an ordinary model whose weights begin at the chosen values and learn; return it.

    Biases that were taken out stay out.

    Raises:
        UserError: The model was not converted.
    """
    required(model).remove()
    return model


def _kind(slots: int | Kind, selection: Selection | None) -> Kind:
    if not isinstance(slots, Kind):
        return Reels(slots, selection or Greedy())
    if selection is not None:
        raise UserError("give the selection to the kind: convert(model, Reels(8, Sampled()))")
    return slots


def _take_out(model: nn.Module, excluded: find.Excluded) -> list[str]:
    removed = []
    for name, layer in find.included(model, excluded):
        for own in layers.offsets_of(layer):
            if find.full(name, own) not in excluded:
                layers.take_out(layer, own)
                removed.append(find.full(name, own))
    return removed


def _reels(model: nn.Module, found: dict[str, layers.Weight], kind: Kind, seed: int) -> list[Reel]:
    own = {name: kind.values.deviation(weight.fan) for name, weight in found.items()}
    common = sum(own.values()) / len(own)
    reels = []
    for name, weight in found.items():
        parameter = model.get_parameter(name)
        deviation = common if kind.sharing.common else own[name]
        scale = kind.conv_scores if weight.conv else kind.linear_scores
        source = Source(
            seed,
            stream_of(name),
            parameter.shape,
            kind.planes,
            kind.values,
            kind.sharing,
            deviation,
            scale * deviation,
            kind.centred,
        )
        reels.append(Reel(name, parameter, kind, source))
    return reels


def _report(
    model: nn.Module, kind: Kind, reels: Sequence[Reel], removed: Sequence[str]
) -> ConvertReport:
    chosen = {id(reel.parameter) for reel in reels}
    free = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in chosen]
    fixed = [n for n, p in model.named_parameters() if not p.requires_grad]
    left = [f"learn as ever: {', '.join(free)}"] if free else []
    left += [f"do not learn, and were left alone: {', '.join(fixed)}"] if fixed else []
    rows = [
        Row(reel.name, tuple(reel.source.shape), reel.source.deviation, bits_of(kind.count))
        for reel in reels
    ]
    return ConvertReport(type(model).__name__, kind, rows, removed, left)
