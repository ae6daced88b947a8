"""A rule as plain PyTorch, this library or BioTorch implements it, in the same training loop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import Parameter

import beyondprop as bp
from benchmarks.common.networks import CLASSES, PLAIN, Network, sgd
from benchmarks.peers import biotorch as peer
from beyondprop.engine.untouched import generators_kept

RULES = ("backprop", "fa", "dfa", "usf", "frsf", "brsf", "kp", "wm")


@dataclass(frozen=True)
class Prepared:
    """A network prepared for the training loop.

    Attributes:
        network: The plain network or the converted one.
        parameters: The parameters for the optimizer.
        loss: Runs the forward pass and returns the loss for the backward pass.
    """

    network: nn.Module
    parameters: Iterable[Parameter]
    loss: Callable[[], Tensor]


@dataclass(frozen=True)
class Implementation:
    """A rule as implemented by a library.

    Attributes:
        library: The name of the library.
        rule: The name of the rule in the library.
    """

    library: str
    rule: str

    @property
    def name(self) -> str:
        """The name in tables."""
        return self.library if self.library == PLAIN else f"{self.library} {self.rule}"

    def prepare(self, net: Network) -> Prepared:
        """Build the network and prepare it for training with the rule."""
        network, (inputs, targets) = net.build(), net.batch()
        loss = nn.functional.cross_entropy
        if self.library == peer.NAME:
            taught, forward = peer.convert(network, self.rule, CLASSES, inputs, targets, loss)
            return Prepared(taught, taught.parameters(), forward)
        if self.library == PLAIN:
            return Prepared(network, network.parameters(), lambda: loss(network(inputs), targets))
        handle = bp.attach(network, bp.rules.make(self.rule))

        def forward_with_targets() -> Tensor:
            with handle.targets(targets):
                return loss(network(inputs), targets)

        return Prepared(
            network, [*network.parameters(), *handle.parameters()], forward_with_targets
        )

    def step(self, net: Network) -> Callable[[], None]:
        """Return one step of the ordinary training loop, the same for all."""
        prepared = self.prepare(net)
        loss, update = prepared.loss, sgd(prepared.parameters, 1e-3)

        def step() -> None:
            update.zero_grad()
            loss().backward()
            update.step()

        return step

    def hidden_gradients(self, net: Network) -> list[list[Tensor | None]]:
        """Return the gradient of every hidden layer's weight, each as a list with one item."""
        with generators_kept():
            torch.manual_seed(0)
            prepared = self.prepare(net)
            prepared.loss().backward()
        modules = prepared.network.modules()
        layers = [m for m in modules if isinstance(m, nn.Linear | nn.Conv2d)]
        return [[layer.weight.grad] for layer in layers[:-1]]


BASELINE = Implementation(PLAIN, "backprop")
IMPLEMENTATIONS = (
    BASELINE,
    *(Implementation("BeyondProp", rule) for rule in RULES),
    *(Implementation(peer.NAME, mode) for mode in peer.MODES),
)
