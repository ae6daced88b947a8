# %% [markdown]
# # Several modalities
#
# A *modality* is a kind of input: a picture, a sound, a table. A network with several
# modalities has an encoder for each, and a fusion that joins them. If all are trained
# together, the encoder that learns fastest dominates, and the others learn little. One
# remedy is to train each encoder alone first, then the fusion, then everything. In this
# tutorial you do that, look at which modality the fusion trusts, and leave one out.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondprop.modalities import Attention, MultimodalNetwork, join, pretrain
from beyondprop.pieces.training import Recipe
from beyondprop.tasks import accuracy

# %% [markdown]
# ## Data in which each modality is sometimes uninformative
#
# The data are synthetic, so the truth is known. Each sample has an image and a table.
# One of them shows the class, and the other is noise: the image is noise in two samples
# out of three.

# %%
CLASSES = 4
Batch = tuple[dict[str, Tensor], Tensor, Tensor]


def draw(count: int, seed: int) -> list[Batch]:
    """Return batches of inputs, classes, and whether the image is informative."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(CLASSES, 6, generator=torch.Generator().manual_seed(1))
    made = []
    for _ in range(count):
        y = torch.randint(CLASSES, (50,), generator=generator)
        silent = torch.rand(50, 1, generator=generator) < 2 / 3
        image = torch.where(silent, 0.0, kinds[y]) + torch.randn(
            50, 64, generator=generator
        )
        table = (
            torch.where(silent, rows[y], 0.0)
            + torch.randn(50, 6, generator=generator) / 2
        )
        inputs = {"image": image.reshape(-1, 1, 8, 8), "table": table}
        made.append((inputs, y, ~silent.squeeze(1)))
    return made


training = [(inputs, y) for inputs, y, _ in draw(30, seed=2)]
validation = [(inputs, y) for inputs, y, _ in draw(5, seed=3)]
test = draw(10, seed=4)
classes = torch.cat([y for _, y, _ in test])
image_speaks = torch.cat([speaks for _, _, speaks in test])

# %% [markdown]
# ## A network
#
# An encoder may be any module that returns `(batch, features)`. `Attention` weighs the
# modalities of each sample by weights that add up to one.

# %%
torch.manual_seed(0)
encoders = {
    "image": nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU()),
    "table": nn.Sequential(nn.Linear(6, 32), nn.ReLU()),
}
fusion = Attention({"image": 64, "table": 32}, width=32)
model = MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, CLASSES))


def head(width: int) -> nn.Module:
    """Return the temporary head of one modality alone."""
    return nn.Linear(width, CLASSES)


# %% [markdown]
# ## Alone, then together
#
# `pretrain` trains each encoder with its own head, as an independent job, and stops it
# when its validation loss stops falling. `join` trains the fusion and the
# head for two epochs, then everything.

# %%
given = (training, validation, F.cross_entropy, head)
with TemporaryDirectory() as folder:
    alone = pretrain(
        model, *given, Path(folder), recipe=Recipe(epochs=10, learning_rate=3e-3)
    )
join(model, *given, recipe=Recipe(epochs=10, learning_rate=1e-3), warm=2)

scores = {}
with torch.no_grad():
    for name, each in alone.items():
        said = torch.cat([each.network(inputs[name]) for inputs, _, _ in test])
        scores[f"{name} alone"] = accuracy(said, classes)
    both = torch.cat([model(**inputs) for inputs, _, _ in test])
scores["both"] = accuracy(both, classes)
for name, score in scores.items():
    print(f"{name:12} {score:.1%}")

assert scores["both"] > max(scores["image alone"], scores["table alone"]) + 0.1

# %% [markdown]
# The complete network is more than ten points better than each modality alone, because
# it can use the informative modality of each sample.
#
# ## Which modality does it trust?
#
# `model.trust` returns the weight of each modality for each sample. The network does
# not know which modality is noise.

# %%
with torch.no_grad():
    trust = torch.cat(
        [model.trust(**inputs) for inputs, _, _ in test]
    )  # (samples, modalities)
on_image = trust[:, 0]
speaking, silent = on_image[image_speaks], on_image[~image_speaks]
print("mean weight of the image")
print(f"where it says something  {speaking.mean():.2f}")
print(f"where it is noise        {silent.mean():.2f}")

assert speaking.mean() > silent.mean() + 0.1

# %%
figure, axes = plt.subplots(figsize=(6, 2.8))
edges = torch.linspace(0, 1, 21).tolist()
axes.hist(speaking.tolist(), edges, alpha=0.6, label="the image says the class")
axes.hist(silent.tolist(), edges, alpha=0.6, label="the image is noise")
axes.set(title="Test samples by the weight of the image", xlabel="weight of the image")
axes.legend(frameon=False)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Without the image
#
# Leave a missing modality out of the call. Its weight is then exactly zero, and the
# network uses the other modalities.

# %%
with torch.no_grad():
    table_only = torch.cat([model(table=inputs["table"]) for inputs, _, _ in test])
    weights = model.trust(table=test[0][0]["table"])
print(
    f"without the image {accuracy(table_only, classes):.1%}, weight {weights[0, 0]:.0f}"
)

assert (weights[:, 0] == 0).all()
assert accuracy(table_only, classes) > 1 / CLASSES + 0.1

# %% [markdown]
# ## What to try next
#
# - Train everything together from the start: leave out `pretrain`. Then compare with
#   other remedies at equal computation: `beyondprop modalities --task
#   generated-ambiguous`.
# - Leave out modalities at random in training, so that the network works better without
#   one: `MultimodalNetwork(..., dropout=0.2)`.
# - Train a part by a rule other than backprop: `Recipe(rule=...)` sets the rule of an
#   encoder or of the complete network.
# - Other fusions, other remedies, and cases in which none of them helps:
#   [Modalities](../docs/modalities.md).
