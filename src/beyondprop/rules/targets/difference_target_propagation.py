"""Difference target propagation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from beyondprop._torch.eager import eager
from beyondprop._torch.modules import is_chain
from beyondprop.core import At, Block, Host, SignalRule, Traits
from beyondprop.errors import UserError
from beyondprop.matching import whole_rows
from beyondprop.projections import Dense, Projection, Redrawn
from beyondprop.random.streams import stream_of
from beyondprop.registry.limits import NotNegative, Positive
from beyondprop.rules.direct.learned import like_of
from beyondprop.rules.model.plain_chain import SHAPES, flat

WEIGHT, BIAS = "inverse.weight", "inverse.bias"


@dataclass(frozen=True)
class DifferenceTargetPropagation(SignalRule):
    """Difference target propagation: learned inverses carry targets back from block to block.

    ``ĥ_{L-1} = h_{L-1} - η̂ ∂ℓ/∂h_{L-1}`` and below it ``ĥ_{i-1} = h_{i-1} - g_i(h_i) + g_i(ĥ_i)``
    (Lee, Zhang, Fischer and Bengio 2015, algorithm 1), with ``ℓ`` the loss of one row.
    Block i minimises ``|f_i(h_{i-1}) - ĥ_i|² / (2 η̂)`` with a constant target; the division is not
    in the paper, and gives the block before the output block the loss's exact gradient. The inverse
    minimises ``|g_i(f_i(h_{i-1} + ε)) - (h_{i-1} + ε)|²`` with the same optimizer,
    ``ε ~ N(0, σ²)`` and a constant f. It is ``g(h) = tanh(V h + c)`` if the previous block ends in
    `nn.Tanh`, as in the paper; otherwise it is affine, so that η̂ has no effect. The first block
    needs no inverse.

    Args:
        projection: Draws the initial weights of the inverses.
        rate: η̂, the size of the step from activities to targets, for a mean loss.
        sigma: σ, the standard deviation of the noise.
        noise: Draws the noise.
    """

    name: ClassVar[str] = "dtp"
    traits: ClassVar[Traits] = Traits(
        frozenset({"sent_back"}),
        ends_graph=True,
        exact_at_output=True,
        scales_with_loss=False,
        alone=(
            "its inverses would learn from the same noise in each process, and their gradients are "
            "not averaged; use one process with the whole batch"
        ),
        drawn_once=frozenset({"projection"}),
        counts_passes=True,
    )
    projection: Projection = field(default_factory=Dense)
    rate: Positive = 1.0
    sigma: NotNegative = 0.3
    noise: Projection = field(default_factory=Redrawn)

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the model is not a chain."""
        if not is_chain(block.owner):
            yield (
                "DifferenceTargetPropagation sends targets from block to block, so it teaches an "
                f"nn.Sequential, not a {type(block.owner).__name__}"
            )

    def install(self, block: Block, host: Host) -> str:
        """Send the next block's target back to this block, through an inverse except for the first
        block."""
        blocks = host.blocks
        if not self._in_a_row(blocks) or not _without_gaps(blocks):
            raise UserError(
                "DifferenceTargetPropagation sends targets from block to block: it must teach "
                "consecutive blocks that hold all modules of the chain, with no other rule between "
                "or before them, and only exact gradients after them"
            )
        place = blocks.index(block)
        if not place or not blocks[place - 1].rule.traits.learns:
            host.end_by_signal(block, self, {})
            return "learns by the target that the next block sends back"
        before = blocks[place - 1]
        inverse = Inverse(self, before, _ends_in_tanh(before))
        host.end_by_signal(block, inverse, inverse.start(block))
        form = "tanh" if inverse.tanh else "affine"
        return f"learns by the target that the next block sends back, and an inverse ({form})"

    def prepare(self, at: At, errors: torch.Size) -> None:  # noqa: ARG002
        """Check that the block has one output in this pass."""
        key = type(self), at.block
        if key in at.run.shared:
            raise UserError(
                f"DifferenceTargetPropagation cannot teach block '{at.block.name}', which returns "
                "several tensors or runs several times in a pass"
            )
        at.run.shared[key] = True

    def signal(self, at: At) -> Tensor:
        """Return the message of the next block."""
        assert at.sent_back is not None
        return at.sent_back

    def _in_a_row(self, blocks: Sequence[Block]) -> bool:
        """Whether the rule's blocks are consecutive, no block before them learns, and no graph ends
        after them."""
        places = [place for place, block in enumerate(blocks) if block.rule == self]
        first, end = places[0], places[-1] + 1
        return (
            places == list(range(first, end))
            and not any(block.rule.traits.learns for block in blocks[:first])
            and not any(block.rule.traits.ends_graph for block in blocks[end:])
        )


@dataclass(frozen=True, eq=False)
class Inverse(SignalRule):
    """The rule for a block with an inverse, from its output back to that of the previous block.

    The message between blocks is ``m_i = (h_i - ĥ_i) / (η̂ n)`` for ``n`` rows, so that it is also
    the signal.

    Attributes:
        rule: The rule.
        before: The previous block.
        tanh: Whether the inverse ends in tanh.
    """

    name: ClassVar[str] = DifferenceTargetPropagation.name
    traits: ClassVar[Traits] = DifferenceTargetPropagation.traits.but(
        needs=frozenset({"input", "output", "sent_back"})
    )
    rule: DifferenceTargetPropagation
    before: Block
    tanh: bool

    def start(self, block: Block) -> dict[str, Tensor]:
        """Return parameters without shapes."""
        like: Tensor = like_of(block, torch.empty(0))
        parameter: Any = UninitializedParameter
        return {n: parameter(device=like.device, dtype=like.dtype) for n in (WEIGHT, BIAS)}

    @eager
    def prepare(self, at: At, errors: torch.Size) -> None:
        """Create the inverse if this is the first pass."""
        self.rule.prepare(at, errors)
        x, weight, bias = at.input, at.state[WEIGHT], at.state[BIAS]
        assert x is not None
        _, inputs, outputs = whole_rows(x.shape, self.before.axes, at.shape, at.block.axes)
        if isinstance(weight, UninitializedParameter) and isinstance(bias, UninitializedParameter):
            like = like_of(at.block, x)
            weight.materialize((inputs, outputs), like.device, like.dtype)
            bias.materialize((inputs,), like.device, like.dtype)
            projection = self.rule.projection
            stream = projection.stream(at.block.stream)
            with torch.no_grad():
                weight.copy_(projection.matrix(inputs, outputs, stream, weight.detach()))
                bias.zero_()
        if weight.shape != (inputs, outputs):
            raise UserError(
                f"DifferenceTargetPropagation has one inverse per block, from {weight.shape[1]} "
                f"outputs to {weight.shape[0]} inputs, but '{at.block.name}' now has {outputs} "
                f"outputs and {inputs} inputs: the sizes must be the same in every pass"
            )

    @eager
    def signal(self, at: At) -> Tensor:
        """Return the message of the next block; send one to the previous block, and let the inverse
        learn."""
        x, h, m = at.input, at.output, at.sent_back
        assert x is not None
        assert h is not None
        assert m is not None
        weight, bias = at.state[WEIGHT].detach(), at.state[BIAS].detach()
        dtype = torch.promote_types(weight.dtype, torch.float32)  # differences of close numbers
        inverse = Affine(weight.to(dtype), bias.to(dtype), self.tanh)
        outputs = weight.shape[1]
        with torch.no_grad(), torch.autocast(at.device.type, enabled=False):
            h, sent = (t.reshape(-1, outputs).to(dtype) for t in (h, m))  # (rows, outputs)
            at.message = inverse.difference(h, sent, self.rule.rate * len(h)).view(x.shape)
            if at.run.training and len(h):
                noisy = self._noisy(at, x.reshape(len(h), -1).to(dtype))  # (rows, inputs)
                given = self._run(at, noisy.view(x.shape).to(weight.dtype)).reshape(h.shape)
                gradients = inverse.gradients(given.to(dtype), noisy)
                at.gradients[WEIGHT], at.gradients[BIAS] = (g.to(weight.dtype) for g in gradients)
        return m

    def _noisy(self, at: At, x: Tensor) -> Tensor:
        """Return the block's input with the noise of this pass, ``(rows, inputs)``."""
        rows, inputs = x.shape
        stream = stream_of(f"{at.block.stream}, pass {at.run.number}, inverse")
        noise = self.rule.noise.matrix(rows, inputs, stream, x)
        return x + noise * (self.rule.sigma * math.sqrt(inputs))  # of variance 1/inputs

    def _run(self, at: At, x: Tensor) -> Tensor:
        """Return the block's output for an input, without advancing the random generators."""
        devices = [at.device] if at.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            given: Tensor = at.run.run(at.block, x)
        return given


@dataclass(frozen=True, eq=False)
class Affine:
    """The function ``V h + c`` of rows, or its tanh.

    Attributes:
        weight: V, ``(inputs, outputs)``.
        bias: c, ``(inputs,)``.
        tanh: Whether tanh follows.
    """

    weight: Tensor
    bias: Tensor
    tanh: bool

    def __call__(self, h: Tensor) -> Tensor:
        """Return the function of ``(rows, outputs)``, ``(rows, inputs)``."""
        y = torch.addmm(self.bias, h, self.weight.t())
        return y.tanh_() if self.tanh else y

    def difference(self, h: Tensor, sent: Tensor, step: float) -> Tensor:
        """Return ``(g(h) - g(h - step * sent)) / step``, ``(rows, inputs)``."""
        if not self.tanh:
            return sent @ self.weight.t()
        return (self(h) - self(h - step * sent)) / step

    def gradients(self, given: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of V and c of the mean over rows of ``|g(given) - aim|²``."""
        back = self(given)  # (rows, inputs)
        slope = (back - aim) * (2 / len(aim))
        if self.tanh:
            slope *= 1 - back.square()
        return slope.t() @ given, slope.sum(0)


def _modules(block: Block) -> Iterator[nn.Module]:
    """Yield the block's modules, with chains flattened."""
    for _, module in block.modules:
        yield from (inner for _, inner in flat(module)) if is_chain(module) else (module,)


def _without_gaps(blocks: Sequence[Block]) -> bool:
    """Whether the blocks hold all modules of the chain, in order."""
    inside = [id(module) for block in blocks for module in _modules(block)]
    return inside == [id(module) for _, module in flat(blocks[0].owner)]


def _ends_in_tanh(block: Block) -> bool:
    last = next((m for m in reversed(list(_modules(block))) if type(m) not in SHAPES), None)
    return type(last) is nn.Tanh


REGISTERED = (DifferenceTargetPropagation,)
