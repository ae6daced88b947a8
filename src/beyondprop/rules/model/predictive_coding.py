"""Predictive coding: activities settle between input and loss, then each layer learns locally.

Layer ``l`` with its activation (and pooling) predicts ``p_l = f_l(h_{l-1})`` from the state below,
``h_0 = x``. With ``ε_l = h_l - p_l``, the energy of one sample in a net of ``L`` layers is
``F = Σ_{l<L} ½|ε_l|² + loss(p_L)``. The output has no state; the loss replaces its error term.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from beyondprop.core import Block, ModelCall, ModelResult, ModelRule, Traits
from beyondprop.errors import UserError
from beyondprop.registry import check_fields, settings
from beyondprop.registry.limits import Count, Positive
from beyondprop.rules.model.chain_pass import Masks, chain_problems, only_input, run_masked
from beyondprop.rules.model.plain_chain import DROPOUTS, PlainChain, unfit
from beyondprop.shapes import Axes, features_axis, features_last

TOLERANCE = 1e-2
"""Tolerance for probabilities below 0 by rounding; bfloat16 has 8 bits."""

TRAITS = ModelRule.traits.but(scales_with_loss=False)


class OutputDistribution(ABC):
    """A model of the loss at an output that inference moves.

    The gradient of the loss is known only at the output of the forward pass. A distribution
    computes the target that gives this gradient there, and then the gradient at any other output.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def target(self, output: Tensor, error: Tensor) -> Tensor:
        """Return the target that gives each row this error, ``(rows, features)``."""

    @abstractmethod
    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the gradient of one row's loss at an output, ``(rows, features)``."""

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same distribution again, as JSON values."""
        return settings(self)


@dataclass(frozen=True)
class CategoricalOutput(OutputDistribution):
    """Softmax cross-entropy, with soft or smoothed labels too: ``error = softmax(y) - target``.

    If the user's loss is a mean cross-entropy, the model is exact at every output. For other losses
    it has the same gradient at the forward pass's output, and the curvature of a cross-entropy.
    """

    name: ClassVar[str] = "categorical"

    def target(self, output: Tensor, error: Tensor) -> Tensor:
        """Return the label's probabilities.

        Raises:
            UserError: The errors sum to 0 as for a cross-entropy, but are too large for one.
        """
        found = output.softmax(-1) - error  # (rows, classes)
        sizes = error.abs().sum(-1).clamp(min=1)  # (rows,)
        lowest = found.min()  # infinite where a scaled loss overflows: its step is skipped
        if -torch.inf < lowest < -TOLERANCE and (error.sum(-1).abs() <= TOLERANCE * sizes).all():
            raise UserError(
                "predictive coding needs the loss at outputs that inference moves, but this error "
                "is too large for a mean cross-entropy over the rows of the batch: don't sum or "
                "scale the loss or ignore rows (ignore_index), which divides by fewer; for another "
                "kind of loss give the rule output=GaussianOutput()"
            )
        return found

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Return softmax minus target."""
        return output.softmax(-1) - target


@dataclass(frozen=True)
class GaussianOutput(OutputDistribution):
    """Squared error: one row's loss is ``|y - target|² / (2 variance)``.

    For any other loss it is a quadratic that has the same gradient at the forward pass's output.

    Args:
        variance: Variance of the output; use half the number of outputs for `torch.nn.MSELoss`,
            which is a mean over the outputs too.
    """

    name: ClassVar[str] = "gaussian"
    variance: Positive = 1.0

    def target(self, output: Tensor, error: Tensor) -> Tensor:
        """Return the target."""
        return output - self.variance * error

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the difference to the target, divided by the variance."""
        return (output - target) / self.variance


@dataclass(frozen=True)
class PredictiveCoding(ModelRule):
    """Predictive coding: hidden activities descend an energy, then each layer learns from its own.

    Starting from the forward pass, all states take ``steps`` simultaneous gradient steps on the
    energy ``F``, ``h_l ← h_l - γ ∂F/∂h_l``. Each layer then learns from ``∂F/∂W_l``, with the
    states on both its sides held constant. Activations are inside the predictions, as in Millidge,
    Seth and Buckley 2022; Whittington and Bogacz 2017 predict the values before the activation. An
    error moves one layer down per step: with fewer steps than hidden layers, the first layers learn
    nothing.

    The loss must be a mean over the rows of the batch; during inference ``output`` selects it.

    Args:
        steps: Number of inference steps.
        rate: Inference rate γ. It must be below 2 over the energy's largest curvature, about
            ``1 + |W|²``.
        output: Model of the loss at outputs that inference moves.
        fixed_predictions: Whether predictions, their derivatives and the output error stay those
            of the forward pass (Millidge, Tschantz and Buckley 2020). With a rate of 1 and as many
            steps as hidden layers this equals backprop except for rounding.
    """

    name: ClassVar[str] = "pc"
    traits: ClassVar[Traits] = TRAITS
    steps: Count = 20
    rate: Positive = 0.1
    output: OutputDistribution = field(default_factory=CategoricalOutput)
    fixed_predictions: bool = False

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the model is not a plain chain."""
        yield from chain_problems("PredictiveCoding", block)
        if unfit(block.owner) is None:
            hidden = len(PlainChain.of(block.owner).layers) - 1
            if self.steps < hidden:
                yield (
                    f"the error moves one layer down per step, so with steps={self.steps} it does "
                    f"not reach the first of {hidden} hidden layers: set steps={hidden} or more"
                )

    def forward(self, call: ModelCall) -> ModelResult:
        """Run the forward pass."""
        return _forward("PredictiveCoding", call, self.output, self.infer)

    def infer(self, net: "Energy") -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the final states, and the states from which predictions are computed."""
        first = states = net.states(())
        for step in range(self.steps if len(states) > 1 else 0):
            if step == 0 or not self.fixed_predictions:
                sources = _free(states)
                predicted = net.predictions(sources)
            deltas = net.deltas(states, predicted)
            from_next = torch.autograd.grad(
                predicted[1:], sources[1:], deltas[1:], retain_graph=self.fixed_predictions
            )
            with torch.no_grad():
                moved = [
                    h - self.rate * (back - delta)
                    for h, back, delta in zip(states[1:], from_next, deltas[:-1], strict=True)
                ]
            states = [states[0], *moved]
        return states, first if self.fixed_predictions else states


@dataclass(frozen=True)
class ErrorPredictiveCoding(ModelRule):
    """Predictive coding by errors (ePC): the same energy, lowered in the errors of its layers.

    States are computed from the errors, ``h_l = f_l(h_{l-1}) + ε_l``, initially with ``ε = 0``. The
    errors take ``steps`` steps ``ε_l ← ε_l - γ (ε_l + ∂loss/∂h_l)``, with the loss's total
    derivative through the later layers. Thus the loss reaches all layers in the first step, and the
    equilibrium is that of `PredictiveCoding` (Goemaere et al. 2025, arXiv 2505.20137). As there,
    each layer learns from ``∂F/∂W_l``, with the states on both of its sides held constant.

    The loss must be a mean over the rows of the batch; during inference ``output`` selects it.

    Args:
        steps: Number of inference steps.
        rate: Inference rate γ.
        output: Model of the loss at outputs that inference moves.
    """

    name: ClassVar[str] = "epc"
    traits: ClassVar[Traits] = TRAITS
    steps: Count = 5
    rate: Positive = 0.1
    output: OutputDistribution = field(default_factory=CategoricalOutput)

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the model is not a plain chain."""
        yield from chain_problems("ErrorPredictiveCoding", block)

    def forward(self, call: ModelCall) -> ModelResult:
        """Run the forward pass."""
        return _forward("ErrorPredictiveCoding", call, self.output, self.infer)

    def infer(self, net: "Energy") -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the final states twice, as predictions are computed from them too."""
        states = net.states(())
        errors = [torch.zeros_like(h) for h in states[1:]]
        for _ in range(self.steps if errors else 0):
            free = [error.requires_grad_() for error in errors]
            with torch.enable_grad():
                output = net.layers[-1](net.follow(free)[-1])
            slopes = torch.autograd.grad(output, free, net.output_error(output))  # ∂loss/∂h
            with torch.no_grad():
                errors = [e - self.rate * (e + s) for e, s in zip(errors, slopes, strict=True)]
        states = net.states(errors)
        return states, states


Infer = Callable[["Energy"], tuple[Sequence[Tensor], Sequence[Tensor]]]


@dataclass(frozen=True, eq=False)
class MaskedLayer:
    """A layer and the modules up to the next layer, with the dropout masks of this pass."""

    modules: Sequence[nn.Module]
    masks: Masks

    def first(self, x: Tensor) -> Tensor:
        """Run the modules in the forward pass and draw the masks."""
        for module in self.modules:
            x = self.masks.draw(module, x) if type(module) in DROPOUTS else module(x)
        return x

    def __call__(self, x: Tensor) -> Tensor:
        """Run the modules with the same masks."""
        return run_masked(self.modules, self.masks.drawn, x)


@dataclass(frozen=True, eq=False)
class Energy:
    """The energy of a batch, as a function of the states of the hidden layers.

    Attributes:
        layers: The layers.
        input: The model's input.
        target: The target of each row, ``(rows, features)``.
        distribution: The model of the loss.
        axes: Meaning of the axes of the model's output.
    """

    layers: Sequence[MaskedLayer]
    input: Tensor
    target: Tensor
    distribution: OutputDistribution
    axes: Axes

    @cached_property
    def first(self) -> Tensor:
        """The first layer's prediction, which inference does not change."""
        with torch.no_grad():
            return self.layers[0](self.input)

    def follow(self, errors: Sequence[Tensor]) -> list[Tensor]:
        """Return the states ``h_0 … h_{L-1}`` for these errors; an empty list is zero errors.

        A state and its error have the shape of the layer's output, ``(batch, features)`` or
        ``(batch, channels, positions…)``.
        """
        states = [self.input]
        for i, layer in enumerate(self.layers[:-1]):
            predicted = layer(states[-1]) if i else self.first
            states.append(predicted + errors[i] if errors else predicted)
        return states

    def states(self, errors: Sequence[Tensor]) -> list[Tensor]:
        """Return the states for these errors, without a graph."""
        with torch.no_grad():
            return self.follow(errors)

    def predictions(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Return ``p_1 … p_L`` from ``h_0 … h_{L-1}``, each but the first with a graph."""
        with torch.enable_grad():
            pairs = zip(self.layers[1:], states[1:], strict=True)
            return [self.first, *[layer(h) for layer, h in pairs]]

    def learning(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Return the same predictions, all of them with a graph."""
        with torch.enable_grad():
            return [layer(h) for layer, h in zip(self.layers, states, strict=True)]

    def output_error(self, output: Tensor) -> Tensor:
        """Return the gradient of each row's loss at an output."""
        output = output.detach()
        error = self.distribution.error(_rows(output, self.axes), self.target)
        return _shaped(error, output, self.axes)

    def deltas(self, states: Sequence[Tensor], predicted: Sequence[Tensor]) -> list[Tensor]:
        """Return ``∂F/∂p_1 … ∂F/∂p_L``: ``-ε_l`` for hidden layers, the error for the output."""
        with torch.no_grad():
            hidden = [p - h for p, h in zip(predicted[:-1], states[1:], strict=True)]
        return [*hidden, self.output_error(predicted[-1])]


class Swapped(nn.Module):
    """Runs a function while a model has other tensors as parameters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[], Any]) -> Any:
        """Run the function."""
        return function()

    def run(self, others: Mapping[str, Tensor], function: Callable[[], Any]) -> Any:
        """Return the function's result with these parameters."""
        # Every name of a parameter is given. Tying them here too would swap a module that runs
        # twice two times, and restore the swapped-in tensor.
        return functional_call(self, dict(others), (function,), tie_weights=False)


@dataclass(frozen=True, eq=False)
class Inference:
    """The values that a forward pass keeps.

    Attributes:
        infer: Returns the final states and those from which predictions are computed.
        model: The model.
        places: Index of each named parameter among the saved tensors.
        count: Number of the model's parameters.
        layers: Its layers.
        distribution: The model of the loss.
        axes: Meaning of the axes of the model's output.
    """

    infer: Infer
    model: nn.Module
    places: Mapping[str, int]
    count: int
    layers: Sequence[MaskedLayer]
    distribution: OutputDistribution
    axes: Axes

    def gradients(
        self,
        errors: Sequence[Tensor | None],
        saved: Sequence[Tensor],
        needed: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Infer the states and return the parameters' gradients, means over the rows."""
        (error,) = errors
        assert error is not None
        x, output = saved[self.count :]
        if not output.numel():  # an empty batch
            wanted = zip(saved, needed, strict=True)
            return [torch.zeros_like(each) if learns else None for each, learns in wanted]
        held = [
            p.detach().requires_grad_(learns)
            for p, learns in zip(saved[: self.count], needed[: self.count], strict=True)
        ]
        dtype = held[0].dtype
        rows = _rows(output, self.axes).to(dtype)  # (rows, features)
        error = _rows(error, self.axes).to(dtype) * len(rows)  # (rows, features), of a row's loss
        target = self.distribution.target(rows, error)
        net = Energy(self.layers, x.to(dtype), target, self.distribution, self.axes)
        swapped = {name: held[place] for name, place in self.places.items()}

        def learn() -> Sequence[Tensor | None]:
            states, sources = self.infer(net)  # h_0 … h_{L-1}, each (batch, …)
            predicted = net.learning(sources)  # p_1 … p_L, likewise
            deltas = [delta / len(rows) for delta in net.deltas(states, predicted)]
            pairs = [(p, d) for p, d in zip(predicted, deltas, strict=True) if p.requires_grad]
            learned = [p for p in held if p.requires_grad]
            outputs, at = [p for p, _ in pairs], [d for _, d in pairs]
            return torch.autograd.grad(outputs, learned, at)

        with torch.autocast(x.device.type, enabled=False):  # small differences are summed
            found = iter(Swapped(self.model).run(swapped, learn))
        return [next(found) if p.requires_grad else None for p in held] + [None] * 2


def _forward(
    rule: str, call: ModelCall, distribution: OutputDistribution, infer: Infer
) -> ModelResult:
    """Run the forward pass; only the model's input and output are kept."""
    x = only_input(rule, call)
    chain = PlainChain.of(call.model)
    parts = [[layer.module, *layer.keeps, *layer.then] for layer in chain.layers]
    parts[0] = [*chain.before, *parts[0]]
    layers = [MaskedLayer(modules, Masks()) for modules in parts]
    y = x
    for layer in layers:
        y = layer.first(y)
    places, count = _places(call), len(call.parameters)
    inference = Inference(infer, call.model, places, count, layers, distribution, call.run.axes)
    return ModelResult(y, [y], [x, y], inference.gradients)


def _places(call: ModelCall) -> dict[str, int]:
    """Return the indices of the model's parameters, by their names in `Swapped`."""
    numbers = {id(parameter): i for i, parameter in enumerate(call.parameters.values())}
    return {
        f"{prefix}.{name}": numbers[id(parameter)]
        for prefix, module in call.model.named_modules(prefix="model")
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False)
    }


def _free(states: Sequence[Tensor]) -> list[Tensor]:
    """Return the states, all but the model's input as leaves that require a gradient."""
    return [states[0], *[h.detach().requires_grad_() for h in states[1:]]]


def _rows(output: Tensor, axes: Axes) -> Tensor:
    """Return an output as ``(rows, features)``."""
    return features_last(output, axes).flatten(0, -2) if output.dim() > 1 else output[None]


def _shaped(rows: Tensor, output: Tensor, axes: Axes) -> Tensor:
    """Return ``(rows, features)`` shaped like an output."""
    shaped = rows.reshape(features_last(output, axes).shape)
    return shaped.movedim(-1, features_axis(output, axes))


REGISTERED = (PredictiveCoding, ErrorPredictiveCoding, CategoricalOutput, GaussianOutput)
