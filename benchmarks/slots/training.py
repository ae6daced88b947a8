"""The networks of the slot-machine papers, trained by choosing and by ordinary training.

Recipe of Aladago and Torresani 2021: batches of 128, SGD with momentum 0.9 and weight decay 1e-4,
and a learning rate of 0.2 for greedy slot machines, 25 for sampled ones and 0.01 for learned
weights (0.1 for supermasks, as Ramanujan et al. 2020), which decreases to zero by a half cosine.
Their networks train for 200 epochs; a record states the number here.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from beyondprop import slots
from beyondprop.tasks import Data, Split, accuracy, find
from beyondprop.tasks.slot_machines import lenet_300_100

BATCH = 128
LEARNED, GREEDY, SAMPLED, MASK = 0.01, 0.2, 25.0, 0.1
"""Published learning rates."""


def conv(layers: int) -> nn.Sequential:
    """Return CONV-2, -4 or -6: 3 x 3 convolutions in pairs, pooling, two hidden layers of 256."""
    model = nn.Sequential()
    before = 3
    for pair in range(layers // 2):
        width = 64 * 2**pair
        for channels in (before, width):
            model += nn.Sequential(nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU())
        model.append(nn.MaxPool2d(2))
        before = width
    side = 32 // 2 ** (layers // 2)
    model += nn.Sequential(nn.Flatten(), nn.Linear(before * side**2, 256), nn.ReLU())
    model += nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return model.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Set:
    """A data set and the network for it.

    Attributes:
        task: The task whose data are used; both its training and validation splits are used for
            training, since they select nothing.
        model: Builds the network.
        bfloat16: Whether products are computed in bfloat16.
    """

    task: str
    model: Callable[[], nn.Sequential]
    bfloat16: bool = False

    def load(self) -> tuple[Split, Split]:
        """Return all training samples, and the test samples."""
        data: Data = find(self.task).load(None)
        both = (data.train, data.validation)
        inputs = torch.cat([part.inputs for part in both])
        return Split(inputs, torch.cat([part.targets for part in both])), data.test


SETS = {
    "mnist": Set("mnist-mlp", lenet_300_100),
    "cifar": Set("cifar-conv", partial(conv, 2), bfloat16=True),
    "cifar-4": Set("cifar-conv", partial(conv, 4), bfloat16=True),
    "cifar-6": Set("cifar-conv", partial(conv, 6), bfloat16=True),
}


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        rate: The learning rate at the start.
        kind: The kind of the weights; None for free ones.
        head: Whether only the last layer learns: the lower control.
        tuned: Whether the chosen weights are then trained as ordinary ones, for as many epochs.
    """

    rate: float
    kind: slots.Kind | None = None
    head: bool = False
    tuned: bool = False


METHODS = {
    "learned": Method(LEARNED),
    "learned, 0.1": Method(0.1),
    "K=2": Method(GREEDY, slots.Reels(2)),
    "K=4": Method(GREEDY, slots.Reels(4)),
    "K=8": Method(GREEDY, slots.Reels(8)),
    "K=8, then tuned": Method(GREEDY, slots.Reels(8), tuned=True),
    "K=8, sampled": Method(SAMPLED, slots.Reels(8, selection=slots.Sampled())),
    "K=8, a layer's values": Method(GREEDY, slots.Reels(8, sharing=slots.PerLayer())),
    "K=8, a network's values": Method(GREEDY, slots.Reels(8, sharing=slots.PerNetwork())),
    "K=8, Kaiming's values": Method(GREEDY, slots.Reels(8, values=slots.KaimingUniform())),
    "supermask, half": Method(MASK, slots.Supermask(keep=0.5)),
    "frozen": Method(LEARNED, head=True),
}
"""Every method by its name in tables."""


def run(
    name: str, method: str, seed: int, epochs: int, device: str, log: Callable[[str], None]
) -> dict[str, Any]:
    """Train one network with one method from one seed, and score it on the test split once.

    Args:
        name: One of `SETS`.
        method: One of `METHODS`.
        seed: The seed of the initial weights, the fixed values and the order of the samples.
        epochs: Passes over the training samples.
        device: The device of the computation.
        log: Receives a line of text after each epoch.

    Returns:
        The figures.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    how, where = METHODS[method], SETS[name]
    train, test = (moved(part, device) for part in where.load())
    model = where.model().to(device)
    if how.head:
        for layer in list(model)[:-1]:
            layer.requires_grad_(False)
    if how.kind is not None:
        slots.convert(model, how.kind, seed=seed)
    losses = fit(model, train, how.rate, epochs, where.bfloat16, log)
    if how.tuned:
        slots.finetune(model)
        losses += fit(model, train, LEARNED, epochs, where.bfloat16, log)
    drawn = how.kind is not None and how.kind.random
    return {
        "set": name,
        "variant": method,
        "seed": seed,
        "epochs": len(losses),
        "rate": how.rate,
        "train_loss": losses,
        "drawn_accuracy": score(model.train(), test, where.bfloat16) if drawn else None,
        "test_accuracy": score(model.eval(), test, where.bfloat16),
    }


def fit(
    model: nn.Module,
    train: Split,
    rate: float,
    epochs: int,
    bfloat16: bool,
    log: Callable[[str], None],
) -> list[float]:
    """Train a model, converted or not, and return the mean loss of each epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    if slots.machine_of(model) is not None:
        slots.drive(optimizer, model)
    steps = math.ceil(len(train) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    means = []
    for epoch in range(epochs):
        model.train()
        losses = []
        for rows in torch.randperm(len(train)).split(BATCH):
            optimizer.zero_grad()
            loss = cross_entropy(outputs(model, train.inputs[rows], bfloat16), train.targets[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        means.append(torch.stack(losses).mean().item())
        log(f"epoch {epoch + 1} of {epochs}: loss {means[-1]:.4f}")
    return means


def outputs(model: nn.Module, inputs: Tensor, bfloat16: bool) -> Tensor:
    """Return the logits in float32."""
    precision = torch.autocast(inputs.device.type, torch.bfloat16) if bfloat16 else nullcontext()
    with precision:
        return model(inputs).float()


def moved(part: Split, device: str) -> Split:
    """Return samples on a device."""
    return Split(part.inputs.to(device), part.targets.to(device))


@torch.no_grad()
def score(model: nn.Module, test: Split, bfloat16: bool) -> float:
    """Return the share of test samples classified correctly, in the model's current mode."""
    found = [outputs(model, part, bfloat16) for part in test.inputs.split(1000)]
    return accuracy(torch.cat(found), test.targets)
