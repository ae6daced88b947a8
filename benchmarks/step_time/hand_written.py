"""Steps of direct feedback alignment written by hand, without the library.

The blocks' graphs are cut by `detach`, the error is computed at the output, and one call of
`torch.autograd.backward` gives each block its signal. Nothing is faster in eager PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from benchmarks.common.networks import CLASSES, RATE, sgd
from beyondprop.measure import Step
from beyondprop.models import resnet, transformer
from beyondprop.models.resnet import resnet18
from beyondprop.models.transformer import Layer, NormFirstLayer, gpt, vit

TOKENS, WIDTH, LAYERS, HEADS = 128, 256, 6, 8
Names = list[str | tuple[str, ...]]
Cut = Callable[[Tensor], Tensor]
Hidden = Callable[[nn.Module, Tensor, Cut], Tensor]


@dataclass(frozen=True)
class Written:
    """A network with a step written by hand.

    Attributes:
        name: The name for `--cases`.
        build: Builds the network.
        shape: The shape of a batch of images, or of tokens.
        blocks: Its blocks, for the library.
        hidden: Returns, from (model, inputs, cut), the input of the module at whose output the
            error is computed; ``cut`` is applied to the output of each block.
        vocabulary: The number of tokens; 0 for images.
        within: Whether the error is computed at the last norm, before the head.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    blocks: Callable[[nn.Module], Names]
    hidden: Hidden
    vocabulary: int = 0
    within: bool = False

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return fixed random inputs and targets."""
        generator = torch.Generator().manual_seed(0)
        if self.vocabulary:
            both = torch.randint(self.vocabulary, (2, *self.shape), generator=generator)
            return both[0], both[1]
        inputs = torch.randn(self.shape, generator=generator)
        return inputs, torch.randint(CLASSES, self.shape[:1], generator=generator)

    def steps(self) -> dict[str, Callable[[], Step]]:
        """Return functions that build a step of backprop, of the library and by hand."""
        return {kind: partial(step, self, kind) for kind in TEACHING}


def step(written: Written, kind: str) -> Step:
    """Return a training step of a fresh network."""
    torch.manual_seed(0)
    model = written.build()
    optimizer = sgd(model.parameters(), RATE)
    teach, (inputs, targets) = TEACHING[kind](written, model), written.batch()

    def taken() -> None:
        optimizer.zero_grad()
        teach(inputs, targets)
        optimizer.step()

    return taken


def by_backprop(_written: Written, model: nn.Module) -> Callable[[Tensor, Tensor], None]:
    """Return a function that computes the exact gradients of the network."""

    def teach(inputs: Tensor, targets: Tensor) -> None:
        loss(model(inputs), targets).backward()

    return teach


def by_library(written: Written, model: nn.Module) -> Callable[[Tensor, Tensor], None]:
    """Return a function that teaches it by direct feedback alignment, as users write it."""
    output = "norm" if written.within else None
    bp.attach(model, bp.DirectFeedbackAlignment(), written.blocks(model), output=output)
    return by_backprop(written, model)


def by_hand(written: Written, model: nn.Module) -> Callable[[Tensor, Tensor], None]:
    """Return a function that teaches it in the same way by hand."""
    feedback = bp.DirectFeedbackAlignment().projection
    matrices: dict[tuple[int, int], Tensor] = {}
    top = model.get_submodule("norm" if written.within else "head")
    behind = model.get_submodule("head") if written.within else nn.Identity()

    def matrix(features: int, width: int, like: Tensor) -> Tensor:
        if (features, width) not in matrices:
            matrices[features, width] = feedback.matrix(features, width, 0, like)
        return matrices[features, width]

    def teach(inputs: Tensor, targets: Tensor) -> None:
        ends: list[Tensor] = []

        def cut(x: Tensor) -> Tensor:
            ends.append(x)
            return x.detach()

        output = top(written.hidden(model, inputs, cut))
        leaf = output.detach().requires_grad_()
        loss(behind(leaf), targets).backward()
        error = leaf.grad
        assert error is not None
        made: dict[torch.Size, Tensor] = {}  # one product for all ends of a shape
        for end in ends:
            if end.shape not in made:
                maps = end.dim() == 4  # (batch, channels, height, width): all are features
                width = end[0].numel() if maps else end.shape[-1]
                rows = error.flatten(0, -2) @ matrix(error.shape[-1], width, error)
                if end.dim() == 3 and error.dim() == 2:  # each token gets its image's signal
                    made[end.shape] = rows.unsqueeze(1).expand(end.shape)
                else:
                    made[end.shape] = rows.view(end.shape)
        signals = [made[end.shape] for end in ends]
        if output.requires_grad:  # false for the last norm, which has nothing to learn
            ends, signals = [*ends, output], [*signals, error]
        torch.autograd.backward(ends, signals)

    return teach


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``(..., classes)``."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def of_layers(model: nn.Module, inputs: Tensor, cut: Cut) -> Tensor:
    """Cut after the embedding and each layer of a transformer."""
    x = cut(model.get_submodule("embed")(inputs))
    for layer in model.get_submodule("layers").children():
        x = cut(layer(x))
    return x


def of_parts(model: nn.Module, inputs: Tensor, cut: Cut) -> Tensor:
    """Cut within each layer too: after attention and norm, activation, and the second norm."""
    x = cut(model.get_submodule("embed")(inputs))
    for layer in model.get_submodule("layers").children():
        assert isinstance(layer, Layer)
        x = cut(layer.norm1(x + layer.attention(x)))
        wide = cut(layer.activation(layer.up(x)))
        x = cut(layer.norm2(x + layer.down(wide)))
    return x


def of_parts_norms_first(model: nn.Module, inputs: Tensor, cut: Cut) -> Tensor:
    """Cut within each layer too: after attention, activation, and the second sum."""
    x = cut(model.get_submodule("embed")(inputs))
    for layer in model.get_submodule("layers").children():
        assert isinstance(layer, NormFirstLayer)
        x = x + cut(layer.attention(layer.attention_norm(x)))
        wide = cut(layer.activation(layer.up(layer.up_norm(x))))
        x = cut(x + layer.down(wide))
    return x


def normed(hidden: Hidden) -> Hidden:
    """Return the same function followed by the last norm, which has nothing to learn."""
    return lambda model, inputs, cut: model.get_submodule("norm")(hidden(model, inputs, cut))


def of_residual_blocks(model: nn.Module, inputs: Tensor, cut: Cut) -> Tensor:
    """Cut after the stem and each residual block."""
    x = cut(model.get_submodule("stem")(inputs))
    for block in model.get_submodule("layers").children():
        x = cut(block(x))
    return x


TEACHING: dict[str, Callable[[Written, nn.Module], Callable[[Tensor, Tensor], None]]] = {
    "plain PyTorch": by_backprop,
    "by hand": by_hand,
    "library": by_library,
}
"""The ways to teach a network; the others are compared with the first."""


def decoder(vocabulary: int, norm_first: bool = False) -> Callable[[], nn.Module]:
    """Return a function that builds the decoder."""
    return partial(gpt, vocabulary, TOKENS, WIDTH, LAYERS, HEADS, norm_first)


def whole(_model: nn.Module) -> Names:
    """Return a block for each layer of a transformer."""
    return list(transformer.BLOCKS)


def macro(_model: nn.Module) -> Names:
    """Return a block for each layer, with the error at the last norm."""
    return ["embed", "layers.*"]


def micro(norm_first: bool) -> Callable[[nn.Module], Names]:
    """Return a function that names blocks within each layer, with the error at the last norm."""
    return lambda _model: transformer.parts(LAYERS, norm_first)


def networks(batch: int = 8) -> list[Written]:
    """Return the networks; batches of images are twice as large as those of texts."""
    texts, images = (batch, TOKENS), (2 * batch, 3, 32, 32)
    many, encoder = 50257, partial(vit, 32, 4, WIDTH, LAYERS, HEADS, CLASSES)
    small = partial(Written, build=decoder(65), shape=texts, vocabulary=65)
    within = partial(small, within=True)
    first = partial(within, build=decoder(65, norm_first=True))
    large = partial(Written, build=decoder(many), shape=texts, vocabulary=many)
    return [
        small("decoder", blocks=whole, hidden=normed(of_layers)),
        small("decoder, finer", blocks=bp.finer_blocks, hidden=normed(of_parts)),
        within("decoder, post-LN, macro", blocks=macro, hidden=of_layers),
        within("decoder, post-LN, micro", blocks=micro(False), hidden=of_parts),
        first("decoder, pre-LN, macro", blocks=macro, hidden=of_layers),
        first("decoder, pre-LN, micro", blocks=micro(True), hidden=of_parts_norms_first),
        large("decoder, 50257, norm", blocks=macro, hidden=of_layers, within=True),
        large("decoder, 50257, logits", blocks=whole, hidden=normed(of_layers)),
        Written("vit", encoder, images, whole, normed(of_layers)),
        Written("resnet18", resnet18, images, lambda _: list(resnet.BLOCKS), of_residual_blocks),
    ]
