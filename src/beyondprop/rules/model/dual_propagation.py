"""Dual propagation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from beyondprop.core import Block, ModelCall, ModelResult, ModelRule, Traits
from beyondprop.registry.limits import Count, Positive, Share
from beyondprop.rules.model.chain_pass import (
    Masks,
    Places,
    add_gradient,
    autocast_of,
    chain_problems,
    layer_gradients,
    only_input,
    places_of,
    run_masked,
)
from beyondprop.rules.model.plain_chain import DROPOUTS, Layer, LayerState, PlainChain
from beyondprop.shapes import Axes, features_last


@dataclass(frozen=True)
class DualPropagation(ModelRule):
    """Dual propagation: hidden units have two states, which the next layer's error nudges apart.

    With ``Δ_k = s⁺_k - s⁻_k``, ``s̄_k = α s⁺_k + (1-α) s⁻_k`` and ``a_k = W_k s̄_{k-1} + b_k``:
    ``s⁺_k = f(a_k + (1-α) W_{k+1}ᵀ Δ_{k+1})``, ``s⁻_k = f(a_k - α W_{k+1}ᵀ Δ_{k+1})``, and
    ``Δ_L = -β e`` with ``e`` the output error of one row. The gradient of ``W_k`` is the mean of
    ``-Δ_k s̄_{k-1}ᵀ / β`` (Høier, Staudt and Zach 2023; Høier and Zach 2024 give these weights of
    mean and nudges, which make it stable for every α). States are initialised by the forward pass,
    and are inferred layer by layer, from the last to the first. As β approaches 0 the gradient
    becomes that of backprop. From a pooling to the next layer derivatives are exact.

    Args:
        alpha: α, the weight of ``s⁺`` in the mean; at 1/2 the bias is of order β², else of order β.
        nudge: β, for a mean loss.
        passes: Number of inference passes: the first runs from the last layer to the first, each
            further one from the first to the last and back.
    """

    name: ClassVar[str] = "dualprop"
    traits: ClassVar[Traits] = ModelRule.traits.but(scales_with_loss=False)
    alpha: Share = 0.5
    nudge: Positive = 1.0
    passes: Count = 1

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the model is not a plain chain."""
        yield from chain_problems("DualPropagation", block)

    def forward(self, call: ModelCall) -> ModelResult:
        """Run the forward pass, and keep the output of each layer."""
        x = only_input("DualPropagation", call)
        chain, masks = PlainChain.of(call.model), Masks()
        in_place = any(getattr(module, "inplace", False) for module in call.model.modules())
        returned: list[Tensor] = []

        def compute(layer: nn.Module, x: Tensor) -> Tensor:
            returned.append(layer(x))
            return returned[-1].clone() if in_place else returned[-1]

        states = list(chain.walk(x, compute, masks.draw))
        output, last = states[-1].activity, states[-1].shape
        dyads = Dyads(
            self,
            list(_steps(chain, masks)),
            places_of(chain, call),
            len(call.parameters),
            last,
            autocast_of(x),
            call.run.axes,
        )
        return ModelResult(output, [output], [states[0].input, *returned[:-1]], dyads.gradients)


@dataclass(frozen=True, eq=False)
class LayerStep:
    """A layer and the modules after it, with the dropout masks of one forward pass.

    Attributes:
        layer: The layer.
        keeps: Masks of the dropouts between it and the first pooling; None for one that is off.
        then: Masks of the dropouts after the first pooling.
    """

    layer: Layer
    keeps: Sequence[Tensor | None]
    then: Sequence[Tensor | None]

    def activity(self, x: Tensor) -> Tensor:
        """Return the activity for the layer's output, before any pooling."""
        return run_masked(self.layer.keeps, self.keeps, x)

    def onward(self, x: Tensor) -> Tensor:
        """Return the next layer's input."""
        return run_masked(self.layer.then, self.then, x)


@dataclass(frozen=True, eq=False)
class Dyads:
    """The values that a forward pass keeps.

    Attributes:
        rule: The rule.
        steps: The layers.
        places: Indices of each layer's parameters among the model's.
        count: Number of the model's parameters.
        last: Shape of the last layer's output.
        cast: Whether autocast was on, and its dtype.
        axes: Meaning of the axes of the model's output.
    """

    rule: DualPropagation
    steps: Sequence[LayerStep]
    places: Places
    count: int
    last: Sequence[int]
    cast: tuple[bool, torch.dtype]
    axes: Axes

    def gradients(
        self,
        errors: Sequence[Tensor | None],
        saved: Sequence[Tensor],
        needed: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Infer the states and return the parameters' gradients."""
        (error,) = errors
        parameters, (x, *returned) = saved[: self.count], saved[self.count :]
        assert error is not None
        rows = features_last(error, self.axes).shape[:-1].numel()
        scale = self.rule.nudge * rows
        precise = torch.promote_types(error.dtype, torch.float32)
        found: list[Tensor | None] = [None] * len(saved)
        on, dtype = self.cast
        with torch.autocast(x.device.type, dtype, enabled=on):
            top = error.reshape(self.last).to(precise) * -scale  # Δ_L
            means, differences = self._infer([x, *returned], top, parameters)
            for place, (step, difference) in enumerate(zip(self.steps, differences, strict=True)):
                places = self.places[step.layer.module]
                if any(needed[place] for place in places.values()):
                    state = LayerState(step.layer, self._input(place, means), difference.shape, x)
                    delta = error if place == len(returned) else difference / -scale
                    for name, gradient in layer_gradients(state, delta).items():
                        add_gradient(found, places.get(name), gradient)
        return found

    def _infer(
        self, kept: Sequence[Tensor], top: Tensor, parameters: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the inferred states.

        Args:
            kept: The first layer's input, and the outputs of all layers but the last.
            top: Δ of the last layer.
            parameters: The model's parameters.

        Returns:
            The chain's input and the mean states of all layers but the last; and Δ of every layer,
            shaped like its output.
        """
        hidden, alpha = len(self.steps) - 1, self.rule.alpha
        means = [kept[0]]  # s̄_0 = x, s̄_1, …
        for step, a in zip(self.steps, kept[1:], strict=False):
            means.append(step.activity(a.to(top.dtype, copy=True)))
        differences = [top] * (hidden + 1)  # the others are set in the first pass
        for number in range(self.rule.passes):
            up = range(hidden) if number else ()
            for k in (*up, *reversed(range(hidden))):
                step = self.steps[k]
                # In the first pass all lower states are still those of the forward pass.
                a = self._layer(k, self._input(k, means), parameters) if number else kept[k + 1]
                a = a.to(top.dtype)  # a_k, as the layer returns it: (batch, features) or maps
                push = self._back(k + 1, means[k + 1], differences[k + 1], parameters)
                push = push.to(top.dtype).reshape(a.shape)  # W_{k+1}ᵀ Δ_{k+1}, like a_k
                plus = step.activity(torch.add(a, push, alpha=1 - alpha))
                minus = step.activity(torch.add(a, push, alpha=-alpha))
                differences[k] = (plus - minus).reshape(a.shape)
                means[k + 1] = torch.lerp(minus, plus, alpha)
        return means, differences

    def _input(self, place: int, means: Sequence[Tensor]) -> Tensor:
        """Return a layer's input for the mean state of the layer before it."""
        return self.steps[place - 1].onward(means[place]) if place else means[0]

    def _layer(self, place: int, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Return a layer's output for an input."""
        layer = self.steps[place].layer.module
        own = {name: parameters[place] for name, place in self.places[layer].items()}
        return functional_call(layer, own, (x.to(own["weight"].dtype),))  # type: ignore[no-any-return]

    def _back(
        self, place: int, mean: Tensor, difference: Tensor, parameters: Sequence[Tensor]
    ) -> Tensor:
        """Return a layer's Δ propagated back to the mean state of the layer before it."""
        step, before = self.steps[place], self.steps[place - 1]
        if type(step.layer.module) is nn.Linear and not before.layer.then:
            weight = parameters[self.places[step.layer.module]["weight"]]
            return difference.to(weight.dtype) @ weight  # (batch, outputs) to (batch, inputs)
        with torch.enable_grad():
            mean = mean.detach().requires_grad_()
            output = self._layer(place, before.onward(mean), parameters)
        (back,) = torch.autograd.grad(output, mean, difference.to(output.dtype))
        return back


def _steps(chain: PlainChain, masks: Masks) -> Iterator[LayerStep]:
    """Yield the layers with the masks that were drawn when they ran."""
    drawn = iter(masks.drawn)

    def taken(modules: Sequence[nn.Module]) -> list[Tensor | None]:
        return [next(drawn) for module in modules if type(module) in DROPOUTS]

    taken(chain.before)
    for layer in chain.layers:
        # Dropouts after the last layer are not run, and draw nothing.
        yield LayerStep(layer, taken(layer.keeps), taken(layer.then))


REGISTERED = (DualPropagation,)
