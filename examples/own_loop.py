"""Train a network on real digits by direct feedback alignment, in your own training loop.

python examples/own_loop.py
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import beyondprop as bp
from beyondprop import tasks
from beyondprop.measure import isolation

EPOCHS = 20


def main() -> None:
    torch.manual_seed(0)
    # 8x8 images of digits, part of the package. Your own data and loader work the same way.
    digits = tasks.find("digits-mlp").load(None)
    dataset = TensorDataset(digits.train.inputs, digits.train.targets)
    loader = DataLoader(dataset, batch_size=64, shuffle=True)

    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.Tanh(),
        nn.Linear(128, 128),
        nn.Tanh(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.Adam(model.parameters())

    # The only call: it changes the model in place, and every layer becomes a block.
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    print(handle.report)

    for _ in range(EPOCHS):
        for inputs, targets in loader:
            # Only rules that need targets use them (DRTP); with others this does nothing.
            with handle.targets(targets):
                loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with torch.no_grad():
        right = model(digits.test.inputs).argmax(dim=1) == digits.test.targets
    print(f"\nTest accuracy: {right.float().mean():.1%}\n")

    # Measure whether anything flows back from block to block.
    print(isolation(handle, digits.validation.inputs, digits.validation.targets))

    handle.remove()  # the plain model again, with its trained weights


if __name__ == "__main__":
    main()
