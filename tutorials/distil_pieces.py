# %% [markdown]
# # Distil a model in pieces
#
# The usual way to make a trained network smaller is to train a small network as a whole
# to imitate it. *Neighbourhood distillation* takes the network apart instead. For each
# part, small candidates learn on their own to return what the part returns. They need
# no labels and no other part, so all of them can be trained at the same time, and one
# library of candidates serves any budget. In this tutorial you take a convolutional
# network apart, train candidates, and assemble networks for three budgets.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

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

digits = tasks.find("digits-conv").load(None)
images, classes = digits.train.batch(slice(None))
held, test = digits.validation.batch(slice(None)), digits.test.batch(slice(None))
batches = list(zip(images.split(64), classes.split(64), strict=True))


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Return the share of test images that the model classifies correctly."""
    return (model(test[0]).argmax(1) == test[1]).float().mean().item()


@torch.no_grad()
def held_loss(model: nn.Module) -> float:
    """Return the loss on validation images."""
    return F.cross_entropy(model(held[0]), held[1]).item()


# %% [markdown]
# ## A teacher
#
# The network to make smaller has two convolutional parts and a linear layer.


# %%
def convolutions(channels: int) -> nn.Sequential:
    """Return two convolutions, to sixteen channels."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 16, 3, padding=1),
    )


torch.manual_seed(0)
teacher = nn.Sequential(
    convolutions(1), convolutions(16), nn.Flatten(), nn.Linear(16 * 64, 10)
)
optimizer = torch.optim.Adam(teacher.parameters(), 3e-3)
for _ in range(6):
    for x, y in batches:
        F.cross_entropy(teacher(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
teacher.eval()
print(f"teacher: {accuracy(teacher):.1%} of test images")

# %% [markdown]
# ## Train the candidates
#
# `split` names the parts. `distil` records what goes into and comes out of each, and
# trains every candidate of every part on that. The candidates here have a half and a
# quarter of the channels between the two convolutions. Finished work in the folder is
# reused, so a run that was killed continues where it stopped.

# %%
storage = TemporaryDirectory()
candidates = {
    "half": make({"candidate": "narrower", "share": 0.5}),
    "quarter": make({"candidate": "narrower", "share": 0.25}),
}
library = distil(
    teacher,
    split(teacher, ["0", "1"]),
    images.split(64),
    Path(storage.name),
    candidates,
    recipe=Recipe(epochs=4),
    validation=held[0].split(64),
)

# %% [markdown]
# ## What does each replacement cost?
#
# Put each candidate alone into the teacher, and measure how much the loss on validation
# data rises. This takes a forward pass for each; the search below needs nothing else. A
# candidate with half the channels should cost less than one with a quarter.

# %%
scores = replaced_alone(teacher, library, held_loss)
options = options_of(teacher, library, scores)
whole = sum(of["teacher"].costs["operations"] for of in options.values())
for part, of in options.items():
    for name, option in of.items():
        if name != "teacher":
            less = 1 - option.costs["operations"] / of["teacher"].costs["operations"]
            print(f"part {part}, {name:8} {less:.0%} fewer, loss {option.score:+.3f}")
    assert scores[part]["half"] < scores[part]["quarter"]

# %% [markdown]
# ## Assemble for a budget
#
# `search` finds the assembly with the least expected loss within a budget of
# operations. `merge` puts it together, as a plain PyTorch model. `heal` trains it as a
# whole for a short time, here two epochs, since the pieces have never met.

# %%
found = {}
for share in (0.8, 0.6, 0.4):
    (best,) = search(options, {"operations": share * whole})
    smaller = library.merge(teacher, best.choice)
    before = accuracy(smaller)
    heal(smaller, batches, F.cross_entropy, Recipe(epochs=2))
    kept = best.costs["operations"] / whole
    found[kept] = before, accuracy(smaller)
    print(f"{kept:.0%} of operations: {before:.1%} merged, {found[kept][1]:.1%} healed")
    assert kept <= share
    assert found[kept][1] > accuracy(teacher) - 0.05
storage.cleanup()

# %%
figure, axes = plt.subplots(figsize=(6, 3))
shares = [100 * kept for kept in found]
axes.plot(
    shares, [100 * merged for merged, _ in found.values()], marker="o", label="merged"
)
axes.plot(
    shares, [100 * healed for _, healed in found.values()], marker="s", label="healed"
)
axes.axhline(100 * accuracy(teacher), linestyle="--", color="gray", label="teacher")
axes.set(title="Test accuracy, %", xlabel="operations kept in the two parts, %")
axes.legend(frameon=False)
figure.tight_layout()
plt.show()

# %% [markdown]
# All three networks stay within five points of the teacher. The candidates were trained
# once, and none of them for a particular budget.
#
# Is this better than training the small network as a whole? That depends on the
# computation spent, so a fair comparison gives both the same amount. `beyondprop
# distil` does so, with end-to-end distillation, pruning and training from scratch next
# to it.
#
# ## What to try next
#
# - Let candidates train on both cores: `distil(..., workers=Workers(jobs=2))`, with
#   `Workers` from `beyondprop.jobs`; or on a cluster.
# - Train the candidates by a rule other than backprop: `Recipe(rule=bp.LocalLoss())`.
# - Write your own kind of candidate, try low-rank factors, and read the measurements at
#   equal computation: [Neighbourhoods](../docs/neighbourhoods.md).
# - Split a network along its inputs rather than along its depth: [Several
#   modalities](several_modalities.py).
