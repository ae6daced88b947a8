"""Teach each part of a residual network by its own rule.

python examples/rules_by_block.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop import tasks

STEPS, BATCH = 300, 64


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 64)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(3))
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images.flatten(1))
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return self.head(hidden)


def main() -> None:
    torch.manual_seed(0)
    digits = tasks.find("digits-mlp").load(None)
    model = Residual()
    optimizer = torch.optim.Adam(model.parameters())
    # Patterns of the names in model.named_modules(); the first match decides the rule of a module.
    rules = {
        "stem": bp.Frozen(),  # keeps its random weights
        "layers.*": bp.DirectFeedbackAlignment(),  # each gets the output error by a random matrix
        "head": bp.Backprop(),  # the last block has the exact gradient under every rule
    }
    handle = bp.attach(model, rules)
    print(handle.report)

    for _ in range(STEPS):
        chosen = torch.randint(len(digits.train), (BATCH,))
        targets = digits.train.targets[chosen]
        with handle.targets(targets):
            loss = F.cross_entropy(model(digits.train.inputs[chosen]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with torch.no_grad():
        right = model(digits.test.inputs).argmax(dim=1) == digits.test.targets
    print(f"\nTest accuracy: {right.float().mean():.1%}")


if __name__ == "__main__":
    main()
