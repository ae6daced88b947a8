"""A rule as plain PyTorch, this library or BioTorch does it, in one and the same training loop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import peer_biotorch as peer
import torch
from nets import CLASSES, PLAIN, Net, sgd
from torch import Tensor, nn
from torch.nn import Parameter

import beyondprop as bp
from beyondprop.engine.untouched import generators_kept

OURS = ("backprop", "fa", "dfa", "usf", "frsf", "brsf", "kp", "wm")


@dataclass(frozen=True)
class Prepared:
    """What the training loop needs.

    Attributes:
        network: The plain network or the one that was made of it.
        parameters: For the optimizer.
        loss: Goes forward and returns the loss, to go backward from.
    """

    network: nn.Module
    parameters: Iterable[Parameter]
    loss: Callable[[], Tensor]


@dataclass(frozen=True)
class Contender:
    """A rule as a library does it.

    Attributes:
        library: Whose it is.
        rule: Its name there.
    """

    library: str
    rule: str

    @property
    def name(self) -> str:
        """What it is called beside the others."""
        return self.library if self.library == PLAIN else f"{self.library} {self.rule}"

    def prepare(self, net: Net) -> Prepared:
        """Build the network and make the library teach it by the rule."""
        network, (inputs, targets) = net.build(), net.batch()
        loss = nn.functional.cross_entropy
        if self.library == peer.NAME:
            taught, forward = peer.converted(network, self.rule, CLASSES, inputs, targets, loss)
            return Prepared(taught, taught.parameters(), forward)
        if self.library == PLAIN:
            return Prepared(network, network.parameters(), lambda: loss(network(inputs), targets))
        handle = bp.attach(network, bp.rules.make(self.rule))

        def ours() -> Tensor:
            with handle.targets(targets):
                return loss(network(inputs), targets)

        return Prepared(network, [*network.parameters(), *handle.parameters()], ours)

    def step(self, net: Net) -> Callable[[], None]:
        """Return one step of the ordinary training loop, the same for all."""
        prepared = self.prepare(net)
        loss, update = prepared.loss, sgd(prepared.parameters, 1e-3)

        def taken() -> None:
            update.zero_grad()
            loss().backward()
            update.step()

        return taken

    def hidden_gradients(self, net: Net) -> list[list[Tensor | None]]:
        """Return the gradient of every hidden layer's weight, each as a list of one."""
        with generators_kept():
            torch.manual_seed(0)
            prepared = self.prepare(net)
            prepared.loss().backward()
        modules = prepared.network.modules()
        layers = [m for m in modules if isinstance(m, nn.Linear | nn.Conv2d)]
        return [[layer.weight.grad] for layer in layers[:-1]]


BASE = Contender(PLAIN, "backprop")
CONTENDERS = (
    BASE,
    *(Contender("BeyondProp", rule) for rule in OURS),
    *(Contender(peer.NAME, mode) for mode in peer.MODES),
)
