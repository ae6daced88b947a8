"""Blocks that learn one after another inside the forward pass, and a network without labels.

    python examples/block_by_block.py

The first part trains a deep network by local losses, with the activations of only one block in
memory at a time. The second part trains hidden layers without labels and reads each of them with
a linear probe.
"""

import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop.measure import linear_probe
from beyondprop.tasks import Data, find

BATCH = 64


def network(hidden: int) -> nn.Sequential:
    """Return blocks of a linear layer and ReLU, each but the first on normalised inputs."""
    blocks = [nn.Sequential(nn.Linear(64, 256), nn.ReLU())]
    for _ in range(hidden - 1):
        norm = nn.LayerNorm(256, elementwise_affine=False)
        blocks.append(nn.Sequential(norm, nn.Linear(256, 256), nn.ReLU()))
    return nn.Sequential(*blocks, nn.Linear(256, 10))


def accuracy(model: nn.Module, data: Data) -> float:
    """Return the share of test images that are classified right."""
    with torch.no_grad():
        outputs = model(data.test.inputs)
    return (outputs.argmax(1) == data.test.targets).double().mean().item()


def train(model: nn.Module, handle: bp.Attachment, data: Data, epochs: int) -> None:
    """Train by the rule, every block inside the forward pass."""
    optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()], lr=1e-3)
    handle.follow(bp.Immediate(optimizer))
    for _ in range(epochs):
        for rows in torch.randperm(len(data.train)).split(BATCH):
            x, y = data.train.inputs[rows], data.train.targets[rows]
            with handle.targets(y):
                loss = F.cross_entropy(model(x), y)  # all blocks have learned but the last
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()


def main() -> None:
    torch.manual_seed(0)
    data = find("digits-mlp").load(None)

    model = network(hidden=8)
    handle = bp.attach(model, bp.LocalLoss(bp.PredSim()))
    train(model, handle, data, epochs=10)
    print(f"Local losses, eight blocks. Test accuracy: {accuracy(model, data):.1%}\n")

    model = network(hidden=3)
    handle = bp.attach(model, bp.SelfContrastiveForwardForward())
    train(model, handle, data, epochs=10)
    print("Hidden layers without labels, read by a linear probe:")
    for block, found in linear_probe(handle, data.train, data.validation).items():
        print(f"  {block:5} {found:.1%}")


if __name__ == "__main__":
    main()
