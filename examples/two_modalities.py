"""Train a network with two inputs: each sub-network alone, then attention, then everything.

python examples/two_modalities.py

For your own two inputs, pass an encoder for each, and batches of (inputs by name, targets). Here an
image and a table show the same class, and each is sometimes uninformative; attention learns which
to trust.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.modalities import Attention, MultimodalNetwork, join, pretrain
from beyondprop.pieces.training import Recipe
from beyondprop.tasks import accuracy

CLASSES = 4
Batches = list[tuple[dict[str, Tensor], Tensor]]


def batches(count: int, seed: int) -> Batches:
    """Return batches in which one modality of each sample is noise, the image in two of three."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(CLASSES, 6, generator=torch.Generator().manual_seed(1))
    made: Batches = []
    for _ in range(count):
        y = torch.randint(CLASSES, (50,), generator=generator)
        silent = torch.rand(50, 1, generator=generator) < 2 / 3
        image = torch.where(silent, 0.0, kinds[y]) + torch.randn(50, 64, generator=generator)
        table = torch.where(silent, rows[y], 0.0) + torch.randn(50, 6, generator=generator) / 2
        made.append(({"image": image.reshape(-1, 1, 8, 8), "table": table}, y))
    return made


def head(width: int) -> nn.Module:
    """Return the head of one modality alone."""
    return nn.Linear(width, CLASSES)


def main() -> None:
    """Train the network, and print its accuracy and the weights of the modalities."""
    torch.manual_seed(0)
    data, validation, test = batches(30, 2), batches(5, 3), batches(10, 4)
    encoders = {
        "image": nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU()),
        "table": nn.Sequential(nn.Linear(6, 32), nn.ReLU()),
    }
    fusion = Attention({"image": 64, "table": 32}, width=32)
    model = MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, CLASSES))
    given = (data, validation, F.cross_entropy, head)
    with TemporaryDirectory() as folder:
        alone = pretrain(model, *given, Path(folder), recipe=Recipe(epochs=10, learning_rate=3e-3))
    join(model, *given, recipe=Recipe(epochs=10, learning_rate=1e-3), warm=2)

    classes = torch.cat([y for _, y in test])
    with torch.no_grad():
        for name, each in alone.items():
            said = torch.cat([each.network(x[name]) for x, _ in test])
            print(f"{name} alone: {accuracy(said, classes):.1%}")
        both = torch.cat([model(**x) for x, _ in test])
        table = torch.cat([model(table=x["table"]) for x, _ in test])
        trust = torch.cat([model.trust(**x) for x, _ in test]).mean(0)
    print(f"Test accuracy: {accuracy(both, classes):.1%}")
    print(f"without the image: {accuracy(table, classes):.1%}")
    print("mean weight: " + ", ".join(f"{n} {w:.2f}" for n, w in zip(encoders, trust, strict=True)))


if __name__ == "__main__":
    main()
