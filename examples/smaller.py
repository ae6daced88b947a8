"""Make a trained network smaller: blocks with fewer channels learn separately, by any rule.

python examples/smaller.py

For your own network, pass its trained model, the names of its parts, and batches of its inputs.
Validation data choose the assembly, labels heal it, and test data are used last.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop import tasks
from beyondprop.neighbourhoods import (
    Recipe,
    distil,
    heal,
    make,
    options_of,
    replaced_alone,
    search,
    split,
)


def trained(images: Tensor, classes: Tensor) -> nn.Module:
    """Return a network that classifies digits."""
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1)),
        nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1)),
        nn.Flatten(),
        nn.Linear(16 * 64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(8):
        for x, y in zip(images.split(64), classes.split(64), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    return (model(images).argmax(1) == classes).float().mean().item()


@torch.no_grad()
def loss(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    return F.cross_entropy(model(images), classes).item()


def main() -> None:
    torch.manual_seed(0)
    data = tasks.find("digits-conv").load(None)
    images, classes = data.train.batch(slice(None))
    held, test = data.validation.batch(slice(None)), data.test.batch(slice(None))
    teacher = trained(images, classes)
    batches = list(zip(images.split(64), classes.split(64), strict=True))
    with TemporaryDirectory() as folder:
        library = distil(
            teacher,
            split(teacher, ["0", "1"]),
            images.split(64),
            Path(folder),
            {
                "half": make({"candidate": "narrower", "share": 0.5}),
                "quarter": make({"candidate": "narrower", "share": 0.25}),
            },
            recipe=Recipe(epochs=4),
            validation=held[0].split(64),
        )
        scores = replaced_alone(teacher, library, lambda model: loss(model, *held))
        options = options_of(teacher, library, scores)
        whole = sum(of["teacher"].costs["operations"] for of in options.values())
        print(f"The teacher: {accuracy(teacher, *test):.1%}")
        for share in (0.8, 0.6, 0.4):
            (best,) = search(options, {"operations": share * whole})
            smaller = library.merge(teacher, best.choice)
            before = accuracy(smaller, *test)
            heal(smaller, batches, F.cross_entropy, Recipe(epochs=2))
            kept = f"{best.costs['operations'] / whole:.0%} of the operations of its blocks"
            print(
                f"Test accuracy: {before:.1%}, healed {accuracy(smaller, *test):.1%}, with {kept}"
            )


if __name__ == "__main__":
    main()
