"""A network that learns by choosing among fixed random weights, packed into a small file.

    python examples/slot_machine.py

Direct feedback alignment trains it. It is written with three bits per weight, read into a fresh
network, and then trained further as an ordinary network.
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop import slots
from beyondprop.tasks import Data, find

BATCH = 64


def network() -> nn.Sequential:
    """Return a network of three linear layers."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10)
    )


def accuracy(model: nn.Module, data: Data) -> float:
    """Return the share of test images that are classified right."""
    with torch.no_grad():
        outputs = model(data.test.inputs)
    return (outputs.argmax(1) == data.test.targets).double().mean().item()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: Data, epochs: int) -> None:
    """Train as usual; a model with a rule attached learns by the rule."""
    for _ in range(epochs):
        for rows in torch.randperm(len(data.train)).split(BATCH):
            loss = F.cross_entropy(model(data.train.inputs[rows]), data.train.targets[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()


def main() -> None:
    torch.manual_seed(0)
    data = find("digits-mlp").load(None)

    model = network()
    print(slots.convert(model, slots=8).report, "\n")
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, slots.drive(optimizer, model), data, epochs=20)
    handle.remove()
    print(f"Eight fixed values per weight, by DFA. Test accuracy: {accuracy(model, data):.1%}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.slots"
        slots.pack(model, path)
        weights = sum(p.numel() for p in model.parameters())
        print(f"Packed: {path.stat().st_size:,} bytes for {weights:,} weights")
        loaded = slots.load(path, network())
    assert torch.equal(loaded(data.test.inputs), model(data.test.inputs))

    slots.finetune(model)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), data, epochs=5)
    print(f"Tuned as an ordinary network: {accuracy(model, data):.1%}")


if __name__ == "__main__":
    main()
