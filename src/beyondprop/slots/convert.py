"""Converts the weights of a model into choices among fixed random values."""

from collections.abc import Iterator, Sequence, Set
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils.parametrize import ParametrizationList

from beyondprop._torch.private import is_compiled
from beyondprop.engine.attach import attachment_of
from beyondprop.errors import UserError, check_type
from beyondprop.random.streams import stream_of
from beyondprop.slots import layers
from beyondprop.slots.kinds import Greedy, Kind, Reels, Selection
from beyondprop.slots.machine import ConvertReport, Machine, machine_of
from beyondprop.slots.reel import Reel
from beyondprop.slots.source import Source


def convert(
    model: nn.Module,
    slots: int | Kind = 8,
    selection: Selection | None = None,
    *,
    seed: int | None = None,
    exclude: Sequence[str] = (),
    biases: bool = False,
) -> Machine:
    """Convert every weight of a model into a choice among fixed random values, in place.

    The weights of linear, bilinear and convolutional layers, embeddings, attention projections and
    recurrent layers hold the chosen values afterwards, as ordinary parameters with the same names;
    nothing is wrapped. An optimizer under `drive` trains them. Embeddings with `padding_idx` learn
    as before, because the padding must not change.

    Args:
        model: Any model; it is changed.
        slots: The number of values of a connection, or a kind of weights: ``Reels(...)`` with all
            its options, ``Supermask(...)`` and its relatives.
        selection: How one of the values is chosen; `Greedy` by default.
        seed: Determines all fixed values, together with the parameters' names. None draws a seed
            from PyTorch's global generator.
        exclude: Names or patterns of modules and parameters that are not changed.
        biases: Keep biases and the affine part of normalisation, which learn as before. Slot
            machines in the paper and in the released code have neither.

    Returns:
        The machine; print its ``report``.

    Raises:
        UserError: Lists everything that prevents the conversion.
    """
    check_type("the model", model, nn.Module, "a torch.nn.Module")
    check_type("biases", biases, bool, "true or false")
    kind = _kind(slots, selection)
    if seed is None:
        seed = int(torch.randint(2**63 - 1, ()))
    excluded = Excluded(exclude)
    found, problems = _weights(model, excluded)
    problems = [*_model_problems(model, excluded, seed), *problems]
    if not found and not problems:
        problems = ["it has no weights that learn and are not excluded"]
    if problems:
        raise UserError(f"{type(model).__name__} cannot be converted: {'; '.join(problems)}")
    removed = [] if biases else _take_out(model, excluded)
    reels = _reels(model, found, kind, seed)
    machine = Machine(model, seed, reels, _report(model, kind, reels, removed), biases)
    machine.restart()
    return machine


def _kind(slots: int | Kind, selection: Selection | None) -> Kind:
    if selection is not None:
        check_type("the selection", selection, Selection, "slots.Greedy() or slots.Sampled()")
    if not isinstance(slots, Kind):
        return Reels(slots, selection or Greedy())
    if selection is not None:
        raise UserError("pass the selection to the kind: convert(model, Reels(8, Sampled()))")
    return slots


class Excluded:
    """Names and patterns of modules and parameters that are not changed."""

    def __init__(self, patterns: Sequence[str]) -> None:
        check_type("exclude", patterns, (str, Sequence, Set), "a list of names or patterns")
        self.patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        for pattern in self.patterns:
            check_type("an entry of exclude", pattern, str, "a name or a pattern of names")

    def __contains__(self, name: str) -> bool:
        parts = name.split(".")
        outer = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(o, pattern) for o in outer for pattern in self.patterns)

    def included(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """Return the modules that are not excluded, with their names."""
        return [(name, module) for name, module in model.named_modules() if name not in self]


def _model_problems(model: nn.Module, excluded: Excluded, seed: int) -> Iterator[str]:
    """Yield problems of the complete model or of the arguments."""
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        yield "it is wrapped for several devices already: convert model.module before that"
    if is_compiled(model):
        yield "it is compiled already: convert it first"
    if attachment_of(model) is not None:
        yield "it has rules attached: convert it first, then attach"
    if any(machine_of(module) is not None for module in model.modules()):
        yield "it was converted before: call slots.freeze(model) first"
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        yield f"seed must be a whole number from 0 to 2**63 - 1, not {seed!r}"
    names = [n for n, _ in model.named_modules()] + [n for n, _ in model.named_parameters()]
    for pattern in excluded.patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"exclude='{pattern}' matches none of its modules and parameters"


def _weights(model: nn.Module, excluded: Excluded) -> tuple[dict[str, layers.Weight], list[str]]:
    """Return the weights to convert by name, tied ones once, and the problems found."""
    found: dict[str, layers.Weight] = {}
    every = model.named_parameters(remove_duplicate=False)
    seen = {id(p) for n, p in every if n in excluded}  # even if it is tied to another
    padded = filter(layers.is_padded, model.modules())
    seen |= {id(p) for layer in padded for p in layer.parameters(recurse=False)}
    problems: list[str] = []
    for name, layer in excluded.included(model):
        if isinstance(layer, ParametrizationList):
            continue
        known = layers.weights_of(layer)
        own = dict(layer.named_parameters(recurse=False))
        for weight in known or ():
            parameter = own.pop(weight.name, None)
            if parameter is not None and id(parameter) in seen:
                continue
            problem = layers.weight_problem(name, layer, weight, parameter)
            if problem is not None:
                problems.append(problem)
            elif parameter is not None and parameter.requires_grad:
                seen.add(id(parameter))
                found[layers.full(name, weight.name)] = weight
        if known is None and not isinstance(layer, layers.NORMS):
            own = {n: p for n, p in own.items() if id(p) not in seen}
            problems += layers.unknown_problems(name, layer, own)
    return found, problems


def _take_out(model: nn.Module, excluded: Excluded) -> list[str]:
    removed = []
    for name, layer in excluded.included(model):
        for own in layers.offsets_of(layer):
            if layers.full(name, own) not in excluded:
                layers.take_out(layer, own)
                removed.append(layers.full(name, own))
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
    left = [f"learn as before: {', '.join(free)}"] if free else []
    left += [f"do not learn, and were not changed: {', '.join(fixed)}"] if fixed else []
    return ConvertReport(type(model).__name__, kind, reels, removed, left)
