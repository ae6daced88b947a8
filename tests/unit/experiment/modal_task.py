"""A task of two small modalities, which workers find by name."""

from pathlib import Path

import torch
from torch import Tensor, nn

from beyondprop.modalities import Attention, MultimodalNetwork
from beyondprop.tasks import Data, Split, Task


def part(count: int, seed: int) -> Split:
    """Classes that both say, one of the two at random only by noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (count,), generator=generator)
    wide = torch.randn(count, 6, generator=generator) * 0.5 + y[:, None] - 1
    small = torch.randn(count, 2, generator=generator) * 0.7 + y[:, None] - 1
    lost = torch.rand(count, generator=generator) < 0.4
    wide[lost] = torch.randn(count, 6, generator=generator)[lost]
    said = torch.stack([~lost, torch.ones_like(lost)], 1)
    return Split({"wide": wide, "small": small}, y, {"informative": said})


def load(folder: Path | None) -> Data:
    """Return the data."""
    del folder
    return Data("two", part(160, 1), part(60, 2), part(90, 3), ("a", "b", "c"))


def model() -> nn.Module:
    """Return the network."""
    encoders = {
        "wide": nn.Sequential(nn.Linear(6, 8), nn.Tanh()),
        "small": nn.Sequential(nn.Linear(2, 8), nn.Tanh()),
    }
    fusion = Attention({"wide": 8, "small": 8}, 6)
    return MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, 3))


def features(inputs: dict[str, Tensor]) -> Tensor:
    """Return both modalities side by side."""
    return torch.cat([inputs["wide"], inputs["small"]], 1)


TWO = Task(
    "two",
    "two small modalities",
    load,
    model,
    blocks=["encoders.*", "fusion", "head"],
    epochs=4,
    batch_size=32,
    features=features,
)
