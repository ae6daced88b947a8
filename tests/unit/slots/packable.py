"""Networks of all sorts to pack; run as a script, it loads each in a separate process.

python packable.py FOLDER    # writes FOLDER/outputs.safetensors
"""

import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from beyondprop import UserError, slots


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
    "lenet-2": ("lenet", 2, {"biases": True}),
    "conv-3": ("convnet", slots.Reels(3, sharing=slots.PerNetwork()), {}),
    "conv-16": ("convnet", slots.Reels(16, slots.Sampled(), values=slots.KaimingUniform()), {}),
    "conv-plain": ("convnet", 8, {"biases": True, "exclude": ["0"]}),
    "conv-mask": ("convnet", slots.Supermask(), {}),
    "attention-8": ("attention", slots.Reels(8, sharing=slots.PerLayer()), {"seed": 2**63 - 1}),
    "attention-coats": ("attention", slots.MulticoatedSupermask(), {"biases": True}),
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


def trained(net, kind, **options):
    torch.manual_seed(7)
    model = NETS[net]()
    slots.convert(model, kind, **options)
    return learn(model, inputs(net))


def packed_small(path, kind=3, **options):
    """Pack a small network that has learned; return its outputs."""
    torch.manual_seed(7)
    model = small()
    slots.convert(model, kind, **options)
    slots.pack(learn(model, inputs("small")), path)
    return outputs(model, inputs("small"))


def snapshot(model):
    """Return all that loading could change."""
    tensors = {
        n: (id(t), t.clone(), t.requires_grad) for n, t in model.state_dict(keep_vars=True).items()
    }
    return tensors, repr(model), torch.get_rng_state()


def same(before, after):
    (one, text, draws), (other, new_text, new_draws) = before, after
    assert text == new_text
    assert one.keys() == other.keys()
    for name, (identity, value, learns) in one.items():
        assert (identity, learns) == (other[name][0], other[name][2])
        assert torch.equal(value, other[name][1])
    assert torch.equal(draws, new_draws)


def refused(path, model=None, match=None):
    model = small() if model is None else model
    before = snapshot(model)
    with pytest.raises(UserError, match=match) as error:
        slots.load(path, model)
    same(before, snapshot(model))
    assert str(error.value).count(". ") == 0
    assert "\n" not in str(error.value)
    return str(error.value)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = {}
    for case, (net, _, _) in CASES.items():
        torch.manual_seed(99)
        loaded = slots.load(folder / f"{case}.safetensors", NETS[net]())
        found[case] = outputs(loaded, inputs(net))
    (folder / "outputs.safetensors").write_bytes(safetensors.torch.save(found))
