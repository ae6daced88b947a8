"""What of a model can be converted, and what stands in the way."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from beyondprop.slots import generator, layers
from beyondprop.slots.machine import machine_of


class Excluded:
    """Names and patterns of modules and parameters that are left as they are."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)

    def __contains__(self, name: str) -> bool:
        parts = name.split(".")
        outer = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(o, pattern) for o in outer for pattern in self.patterns)


def full(module: str, name: str) -> str:
    """Return a parameter's name in the model."""
    return f"{module}.{name}" if module else name


def included(model: nn.Module, excluded: Excluded) -> list[tuple[str, nn.Module]]:
    """Return the modules that are not excluded, with their names."""
    return [(name, m) for name, m in model.named_modules() if name not in excluded]


def model_problems(model: nn.Module, excluded: Excluded, seed: int) -> Iterator[str]:
    """Yield what is wrong with the model as a whole, or with what was asked for."""
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        yield "it is wrapped for several devices already: convert model.module before that"
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        yield "it is compiled already: convert it first"
    if "_beyondprop" in vars(model):
        yield "it has rules attached: convert it first, then attach"
    if any(machine_of(module) is not None for module in model.modules()):
        yield "it was converted before: slots.freeze(model) ends that"
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        yield f"seed must be a whole number from 0 to 2**63 - 1, not {seed!r}"
    names = [n for n, _ in model.named_modules()] + [n for n, _ in model.named_parameters()]
    for pattern in excluded.patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"exclude='{pattern}' matches none of its modules and parameters"


def weights(model: nn.Module, excluded: Excluded) -> tuple[dict[str, layers.Weight], list[str]]:
    """Return the weights to convert by their names, each tied one once, and what is in the way."""
    found: dict[str, layers.Weight] = {}
    every = model.named_parameters(remove_duplicate=False)
    seen = {id(p) for n, p in every if n in excluded}  # also where it is tied to another
    problems: list[str] = []
    for name, layer in included(model, excluded):
        if isinstance(layer, ParametrizationList):
            continue
        known = layers.weights_of(layer)
        own = dict(layer.named_parameters(recurse=False))
        for weight in known or ():
            parameter = own.pop(weight.name, None)
            if parameter is not None and id(parameter) in seen:
                continue
            problem = _problem(name, layer, weight, parameter)
            if problem is not None:
                problems.append(problem)
            elif parameter is not None and parameter.requires_grad:
                seen.add(id(parameter))
                found[full(name, weight.name)] = weight
        if known is None and not isinstance(layer, layers.NORMS):
            own = {n: p for n, p in own.items() if id(p) not in seen}
            problems += _unknown(name, layer, own)
    return found, problems


def _problem(
    module: str, layer: nn.Module, weight: layers.Weight, parameter: nn.Parameter | None
) -> str | None:
    name = full(module, weight.name)
    if parameter is None:
        return (
            f"'{name}' is computed from other parameters: convert before you put weight "
            f"normalisation or another parametrization on, or leave it by exclude=['{module}']"
        )
    if _lazy(parameter):
        return f"'{name}' has no shape yet: run the model once on a batch first"
    if parameter.numel() >= generator.LIMIT:
        return f"'{name}' has more than {generator.LIMIT:,} weights: split the layer"
    if not parameter.is_floating_point():
        return f"'{name}' is {parameter.dtype}, and values are real: leave it by exclude=['{name}']"
    if parameter.is_meta:
        return f"'{name}' has no memory: call model.to_empty(device='cpu') first"
    if getattr(layer, "sparse", False):
        return f"'{module}' has sparse gradients: build it with sparse=False"
    own = [n for n in ("max_norm", "padding_idx") if getattr(layer, n, None) is not None]
    if own:
        return (
            f"'{name}' has a {own[0]}, which fixed values cannot keep to: leave it by "
            f"exclude=['{name}'], or build it without"
        )
    return None


def _unknown(module: str, layer: nn.Module, own: dict[str, nn.Parameter]) -> Iterator[str]:
    """Yield the parameters of a layer that are no vectors, as these could be weights."""
    for name, parameter in own.items():
        if not _lazy(parameter) and parameter.requires_grad and parameter.dim() > 1:
            yield (
                f"'{full(module, name)}' is a parameter of {type(layer).__name__}, a layer kind "
                f"that is not known here: leave it by exclude=['{full(module, name)}']"
            )


def _lazy(parameter: nn.Parameter) -> bool:
    """Return `is_lazy`, without what it tells the type check of all others."""
    return is_lazy(parameter)
