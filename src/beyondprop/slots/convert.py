"""Turning the weights of a model into choices among fixed random values, and back."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from ..errors import UserError
from ..rules.base import stream_of
from . import generator, layers
from .kinds import Kind, Reels
from .machine import Machine, Reel, machine_of, required
from .packing import bits_of
from .selection import Greedy, Selection
from .source import Source
from .summary import ConvertReport, Row


def convert(
    model: nn.Module,
    slots: int | Kind = 8,
    selection: Selection | None = None,
    *,
    seed: int = 0,
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
        seed: Decides all fixed values, with the parameters' names.
        exclude: Names or patterns of modules that are left as they are.
        plain: Leave biases and the affine part of normalisation in, to learn as ever. Published
        slot
            machines have neither.

    Returns:
        The machine; print its ``report``.

    Raises:
        UserError: Listing all that stands in the way.
    """
    kind = _kind(slots, selection)
    found, problems = _find(model, exclude)
    problems = [*_problems(model, exclude, seed), *problems]
    if not found and not problems:
        problems = ["it has no weights that learn outside of what is excluded"]
    if problems:
        raise UserError(f"{type(model).__name__} cannot be converted: {'; '.join(problems)}")
    removed = [] if plain else _take_out(model, exclude)
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


def _problems(model: nn.Module, exclude: Sequence[str], seed: int) -> Iterator[str]:
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        yield "it is wrapped for several devices already: convert model.module before that"
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        yield "it is compiled already: convert it first"
    if "_beyondprop" in vars(model):
        yield "it has rules attached: convert it first, then attach"
    if any(machine_of(module) is not None for module in model.modules()):
        yield "it was converted before: slots.freeze(model) ends that"
    if not 0 <= seed < 2**63:
        yield f"seed must be between 0 and 2**63 - 1, not {seed}"
    names = [name for name, _ in model.named_modules()]
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"exclude='{pattern}' matches none of its modules"


def _find(model: nn.Module, exclude: Sequence[str]) -> tuple[dict[str, layers.Weight], list[str]]:
    """Return the weights to convert by their names, each tied one once, and what can't be."""
    found: dict[str, layers.Weight] = {}
    seen: set[int] = set()
    problems = []
    for name, layer in _included(model, exclude):
        known = layers.weights_of(layer)
        own = dict(layer.named_parameters(recurse=False))
        for weight in known or ():
            parameter = own.pop(weight.name, None)
            full = f"{name}.{weight.name}" if name else weight.name
            if parameter is None:
                problems.append(
                    f"'{full}' is computed from other parameters: convert before you put weight "
                    f"normalisation or another parametrization on, or {_leave(name)}"
                )
            elif _lazy(parameter):
                problems.append(f"'{full}' has no shape yet: run the model once on a batch first")
            elif parameter.numel() >= generator.LIMIT:
                problems.append(f"'{full}' has more than {generator.LIMIT:,} weights")
            elif getattr(layer, "sparse", False):
                problems.append(f"'{name}' has sparse gradients: build it with sparse=False")
            elif parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                found[full] = weight
        problems += [
            f"'{f'{name}.{own_name}' if name else own_name}' of {type(layer).__name__} is a matrix "
            f"of a layer kind that is not known here: {_leave(name)}"
            for own_name, parameter in own.items()
            if known is None
            and not isinstance(layer, layers.NORMS)
            and not _lazy(parameter)
            and parameter.requires_grad
            and parameter.dim() > 1
            and id(parameter) not in seen
        ]
    return found, problems


def _lazy(parameter: nn.Parameter) -> bool:
    return is_lazy(parameter)


def _leave(name: str) -> str:
    return f"leave it as it is by exclude=['{name}']" if name else "build it of known layers"


def _included(model: nn.Module, exclude: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    out = [n for n, _ in model.named_modules() if any(fnmatchcase(n, p) for p in exclude)]
    for name, layer in model.named_modules():
        if not any(name == o or name.startswith(f"{o}.") for o in out):
            yield name, layer


def _take_out(model: nn.Module, exclude: Sequence[str]) -> list[str]:
    removed = []
    for name, layer in list(_included(model, exclude)):
        for own in layers.offsets_of(layer):
            layers.take_out(layer, own)
            removed.append(f"{name}.{own}" if name else own)
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
