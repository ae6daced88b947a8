# %% [markdown]
# # A transformer with labels inside
#
# Many language models, such as those of Hugging Face, take the labels and return the
# loss. The error then does not arise at the model's output. In this tutorial you train
# a transformer of this kind, a small decoder that predicts characters, by rules that
# need no backward pass through the complete model, and compare them with both controls.

# %%
import math
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import beyondprop as bp

# %% [markdown]
# ## Some text
#
# Every Python installation includes the language reference for `help()`, which is
# enough English text for a small model.

# %%
text = (
    "\n".join(topics[name] for name in sorted(topics))
    .encode("ascii", "ignore")
    .decode()
)
characters = sorted(set(text))
number = {character: place for place, character in enumerate(characters)}
codes = torch.tensor([number[character] for character in text])
train_codes, test_codes = codes[: -len(codes) // 10], codes[-len(codes) // 10 :]
print(f"{len(codes):,} characters, {len(characters)} kinds")

# %% [markdown]
# ## A decoder that computes its own loss
#
# This is plain PyTorch. `forward` takes the labels, shifts them by one character, and
# returns the loss. The module named `norm` computes the last hidden state. Only the
# decoder follows, which maps a hidden state to characters.

# %%
WIDTH, LENGTH = 64, 32


class Layer(nn.Module):
    """A pre-norm transformer layer that looks back only."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, num_heads=4, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.register_buffer(
            "ahead", torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        )

    def forward(self, x: Tensor) -> Tensor:  # (batch, tokens, features)
        seen = self.attention_norm(x)
        x = (
            x
            + self.attention(
                seen, seen, seen, attn_mask=self.ahead, need_weights=False
            )[0]
        )
        return x + self.mlp(self.mlp_norm(x))


class Embedding(nn.Module):
    """Characters and their places."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(characters), WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        return self.tokens(ids) + self.places.weight


class Decoder(nn.Module):
    """Predicts the next character, and returns its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = Embedding()
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH)
        self.decode = nn.Linear(WIDTH, len(characters))

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.decode(self.norm(x))  # (batch, tokens, characters)
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


# %% [markdown]
# ## Attach
#
# Three arguments describe the model. `output=` names the module at which the error is
# taken: the last hidden state, so the decoder after it keeps its exact gradient.
# `targets=` names the argument that holds the labels, so the loop needs no
# `handle.targets(...)`. `shift=1` means that the model's loss compares each output with
# the label one character ahead.
#
# `blocks` are the embedding and each layer. Within a block the gradient is exact:
# attention and feed-forward network learn together. Between blocks no gradient flows.

# %%
torch.manual_seed(0)
model = Decoder()
blocks = ["embedding", "layers.*"]
where = {"output": "norm", "targets": "labels", "shift": 1}
handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()), blocks, **where)
print(handle.report)

# %% [markdown]
# `LocalLoss` gives every block its own linear head, which predicts the next character.
# Heads are parameters of the handle and do not change the model's `state_dict`.
#
# ## Train
#
# The loop is that of any language model. The controls are backprop and *frozen*, where
# the embedding and the layers keep their random weights and only the last norm and the
# decoder learn.


# %%
def windows(codes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return random windows of text, (count, LENGTH)."""
    starts = torch.randint(len(codes) - LENGTH, (count, 1), generator=generator)
    return codes[starts + torch.arange(LENGTH)]


held = windows(test_codes, 500, torch.Generator().manual_seed(1))


def train(rule: bp.rules.Rule, steps: int = 300, every: int = 50) -> list[float]:
    """Train a fresh decoder, and return its bits per held-out character by step."""
    torch.manual_seed(0)
    model, drawn = Decoder(), torch.Generator().manual_seed(0)
    handle = bp.attach(model, rule, blocks, **where)
    optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()], lr=3e-3)
    course = []
    for step in range(1, steps + 1):
        ids = windows(train_codes, 32, drawn)
        loss = model(ids, labels=ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % every == 0:
            with torch.no_grad():
                course.append(model(held, labels=held).item() / math.log(2))
    return course


rules = {
    "backprop": bp.Backprop(),
    "local losses": bp.LocalLoss(bp.CrossEntropy()),
    "direct feedback alignment": bp.DirectFeedbackAlignment(),
    "frozen": bp.Frozen(),
}
courses = {name: train(rule) for name, rule in rules.items()}
for name, course in courses.items():
    print(f"{name:26} {course[-1]:.2f} bits per character")

assert courses["backprop"][-1] < courses["local losses"][-1] < courses["frozen"][-1]
assert courses["local losses"][-1] < courses["direct feedback alignment"][-1]
assert abs(courses["direct feedback alignment"][-1] - courses["frozen"][-1]) < 0.4

# %%
figure, axes = plt.subplots(figsize=(6, 3.2))
for name, course in courses.items():
    axes.plot(range(50, 301, 50), course, marker="o", markersize=3, label=name)
axes.set(title="Bits per character on held-out text", xlabel="step")
axes.legend(frameon=False)
figure.tight_layout()
plt.show()

# %% [markdown]
# Local losses end between the controls: the layers learn, although no gradient passes
# from one to another. Direct feedback alignment ends below local losses, near the
# frozen control: in these few steps, at this learning rate, its random signals teach
# the layers little.
#
# This is a first look, with one seed, one learning rate for all rules, and a small
# model. A fair comparison searches the rate of each rule and repeats over seeds; the
# page [Language](../docs/language.md) shows such comparisons.
#
# ## A model of Hugging Face
#
# The call is the same, and the class name determines the shift of the labels:
#
# ```text
# model = GPT2LMHeadModel(config)
# handle = bp.attach(model, rule, output="transformer.ln_f", targets="labels")
# loss = model(input_ids, labels=input_ids).loss
# ```
#
# ## What to try next
#
# - Let each layer learn as soon as it has run, and free its memory: [Memory that does
#   not grow with depth](flat_memory.py).
# - End blocks within layers too: `bp.finer_blocks(model)` names the parts of common
#   transformers.
# - Use your own model, or one of some thirty models from other packages: [Supported
#   models](../docs/models.md).
# - Train parts by different rules: `bp.attach(model, {"embedding": bp.Backprop(),
#   "layers.*": rule})`.
