"""A plain chain of layers, run step by step so that a rule sees each layer's input and output."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from beyondprop._torch.modules import children, is_chain, is_made
from beyondprop.errors import UserError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SHAPES = (nn.Identity, nn.Flatten, nn.Unflatten)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Threshold),
    *(nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softshrink, nn.Hardshrink),
)
POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
KEEPS = (*SHAPES, *DROPOUTS, *ELEMENTWISE)
"""Modules whose output has one value for each value of their input."""
KNOWN = {*LAYERS, *POOLS, *KEEPS}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with weights and the modules after it.

    Attributes:
        module: The layer.
        keeps: The modules after it, up to the first pooling, which keep the number of values.
        then: The first pooling and the modules after it.
    """

    module: nn.Module
    keeps: Sequence[nn.Module]
    then: Sequence[nn.Module]


@dataclass(frozen=True, eq=False)
class LayerState:
    """The input and output of a layer in one pass.

    Attributes:
        layer: The layer.
        input: Its input.
        shape: Shape of its output.
        activity: Its output after the activation, in any shape.
    """

    layer: Layer
    input: Tensor
    shape: Sequence[int]
    activity: Tensor


@dataclass(frozen=True, eq=False)
class PlainChain:
    """A model as a list of layers.

    Attributes:
        before: The modules before the first layer.
        layers: The layers in order.
    """

    before: Sequence[nn.Module]
    layers: Sequence[Layer]

    @classmethod
    def of(cls, model: nn.Module) -> "PlainChain":
        """Return the layers of a model for which `unfit` has found no reason.

        Raises:
            UserError: A module was changed later, for example by pruning or a parametrization.
        """
        named = list(flat(model))
        reason = next(_odd(named), None)
        if reason is not None:
            raise UserError(
                f"the rule teaches only plain layers, but after attaching {reason}: undo this, or "
                "remove() the rules"
            )
        modules = [module for _, module in named]
        starts = [i for i, module in enumerate(modules) if type(module) in LAYERS]
        layers = []
        for start, end in zip(starts, [*starts[1:], len(modules)], strict=True):
            rest = modules[start + 1 : end]
            pool = next((i for i, m in enumerate(rest) if type(m) in POOLS), len(rest))
            layers.append(Layer(modules[start], rest[:pool], rest[pool:]))
        return cls(modules[: starts[0]], layers)

    def walk(
        self,
        x: Tensor,
        compute: Callable[[nn.Module, Tensor], Tensor],
        drop: Callable[[nn.Module, Tensor], Tensor],
    ) -> Iterator[LayerState]:
        """Run the chain and yield each layer's state; the last activity is the output.

        Args:
            x: The input.
            compute: Returns a layer's output.
            drop: Returns a dropout's output.
        """

        def run(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
            for module in modules:
                x = drop(module, x) if type(module) in DROPOUTS else module(x)
            return x

        x = run(self.before, x)
        for layer in self.layers:
            output = compute(layer.module, x)
            activity = run(layer.keeps, output)
            yield LayerState(layer, x, output.shape, activity)
            x = run(layer.then, activity)


def flat(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of a chain in the order they run, with nested chains flattened."""
    for name, module in children(model, prefix):
        if is_chain(module):
            yield from flat(module, name)
        else:
            yield name, module


def _odd(modules: Sequence[tuple[str, nn.Module]]) -> Iterator[str]:
    """Yield a clause for each module that a plain chain cannot hold."""
    for name, module in modules:
        if type(module) not in KNOWN or "forward" in vars(module):
            yield f"'{name}' ({type(module).__name__}) is none of these"
        elif is_made(module):
            yield f"the weight of '{name}' is computed from others (weight_norm, pruning)"


def unfit(model: nn.Module) -> str | None:
    """Return the reason why a model is not a plain chain, or None."""
    if not is_chain(model):
        return f"{type(model).__name__} is not an nn.Sequential"
    modules = list(flat(model))
    for reason in _odd(modules):
        return reason
    places = [i for i, (_, module) in enumerate(modules) if type(module) in LAYERS]
    if not places:
        return None
    for name, module in modules[: places[0]]:
        if getattr(module, "inplace", False):
            return f"'{name}' would modify the input in place: set inplace=False"
    for name, module in modules[places[-1] + 1 :]:
        if type(module) not in SHAPES:
            return f"'{name}' ({type(module).__name__}) follows the last layer: move it to the loss"
    return None
