"""Networks of all sorts to pack; run by itself, it loads each in a process of its own.

python packable.py FOLDER    # writes FOLDER/outputs.safetensors
"""

import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from beyondprop import slots


class Attention(nn.Module):
    """Tokens, attention, and an output tied to the embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.out = nn.Linear(8, 11, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("mask", torch.full((5, 5), -torch.inf).triu(1))

    def forward(self, x):
        return self.out(self.encoder(self.embed(x), src_mask=self.mask))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, batch_first=True)
        self.cell, self.out = nn.GRUCell(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.cell(self.lstm(x)[0][:, -1]))


def lenet():
    return nn.Sequential(
        nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def convnet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, groups=2),
        nn.GroupNorm(2, 4),
        nn.ConvTranspose2d(4, 2, 3),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def small():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


NETS = {"lenet": lenet, "convnet": convnet, "attention": Attention, "recurrent": Recurrent}
CASES = {
    "lenet-8": ("lenet", 8, {}),
    "lenet-2": ("lenet", 2, {"plain": True}),
    "conv-3": ("convnet", slots.Reels(3, sharing=slots.PerNetwork()), {}),
    "conv-16": ("convnet", slots.Reels(16, slots.Sampled(), values=slots.KaimingUniform()), {}),
    "conv-plain": ("convnet", 8, {"plain": True, "exclude": ["0"]}),
    "conv-mask": ("convnet", slots.Supermask(), {}),
    "attention-8": ("attention", slots.Reels(8, sharing=slots.PerLayer()), {"seed": 2**63 - 1}),
    "attention-coats": ("attention", slots.MulticoatedSupermask(), {"plain": True}),
    "recurrent-5": ("recurrent", 5, {"exclude": ["out"]}),
    "recurrent-signed": ("recurrent", slots.SignedSupermask(), {}),
}


def inputs(net):
    draw = torch.Generator().manual_seed(1)
    if net == "attention":
        return torch.randint(11, (6, 5), generator=draw)
    shape = {"lenet": (32, 784), "convnet": (6, 3, 8, 8), "recurrent": (6, 5, 4), "small": (9, 4)}
    return torch.randn(shape[net], generator=draw)


def learn(model, x, steps=3, seed=0, make=torch.optim.SGD):
    """Train for some steps against random targets, so that choices and statistics move."""
    optimizer = slots.drive(make(model.parameters(), lr=0.05), model)
    draw = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        out = model(x)
        optimizer.zero_grad()
        (out - torch.randn(out.shape, generator=draw)).square().sum().backward()
        optimizer.step()
    return model


@torch.no_grad()
def outputs(model, x):
    return model.eval()(x).clone()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = {}
    for case, (net, _, _) in CASES.items():
        torch.manual_seed(99)
        loaded = slots.load(folder / f"{case}.safetensors", NETS[net]())
        found[case] = outputs(loaded, inputs(net))
    (folder / "outputs.safetensors").write_bytes(safetensors.torch.save(found))
