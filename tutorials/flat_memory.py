# %% [markdown]
# # Memory that does not grow with depth
#
# Backpropagation keeps the activations of every layer until the backward pass reaches
# it, so the memory of a training step grows with depth. A block with its own loss need
# not wait. Under the `Immediate` schedule each block learns as soon as it has run,
# and its activations are freed before the next block runs. In this tutorial you count
# the bytes, then train a network of sixteen hidden layers this way.

# %%
import weakref
from collections import Counter

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop import tasks

# %% [markdown]
# ## Count what autograd keeps
#
# PyTorch calls a pair of hooks for each tensor that it saves for the backward pass. The
# hooks below count the bytes of the saved tensors that are alive. They leave out the
# weights, which take memory in any case.


# %%
class Kept:
    """A tensor that autograd has saved."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


class Activations:
    """Counts the bytes that autograd keeps, now and at most, without the weights."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {
            weight.untyped_storage().data_ptr() for weight in model.parameters()
        }
        self.counts: Counter[int] = Counter()
        self.now = self.peak = 0

    def keep(self, tensor: Tensor) -> Kept:
        """Count a saved tensor; several views of one piece of memory count once."""
        storage, kept = tensor.untyped_storage(), Kept(tensor)
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self.weights:
            self.now += size if self.counts[place] == 0 else 0
            self.counts[place] += 1
            self.peak = max(self.peak, self.now)
            weakref.finalize(kept, self.drop, place, size)
        return kept

    def drop(self, place: int, size: int) -> None:
        """Count a tensor that is freed."""
        self.counts[place] -= 1
        self.now -= size if self.counts[place] == 0 else 0


def network(depth: int, width: int = 256) -> nn.Sequential:
    """Return blocks of a linear layer and ReLU, with norms between them."""
    blocks = [nn.Sequential(nn.Linear(64, width), nn.ReLU())]
    for _ in range(depth - 1):
        norm = nn.LayerNorm(width, elementwise_affine=False)
        blocks.append(nn.Sequential(norm, nn.Linear(width, width), nn.ReLU()))
    return nn.Sequential(*blocks, nn.Linear(width, 10))


# %% [markdown]
# ## One step at five depths
#
# `handle.follow(bp.Immediate(optimizer))` is the only line that differs from an
# ordinary loop. When `model(x)` returns, all blocks but the last have learned.

# %%
x, y = torch.randn(256, 64), torch.randint(10, (256,))


def peak(depth: int, local: bool) -> float:
    """Return the most that autograd keeps in a training step, in MB."""
    torch.manual_seed(0)
    model = network(depth)
    handle = bp.attach(
        model, bp.LocalLoss(bp.CrossEntropy()) if local else bp.Backprop()
    )
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], lr=0.01)
    if local:
        handle.follow(bp.Immediate(optimizer))
    counted = Activations(model)
    with torch.autograd.graph.saved_tensors_hooks(
        counted.keep, lambda kept: kept.tensor
    ):
        with handle.targets(y):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return counted.peak / 1e6


DEPTHS = (2, 4, 8, 16, 32)
by_backprop = [peak(depth, local=False) for depth in DEPTHS]
by_local = [peak(depth, local=True) for depth in DEPTHS]
print("depth          ", "".join(f"{depth:7}" for depth in DEPTHS))
print("backprop, MB   ", "".join(f"{size:7.2f}" for size in by_backprop))
print("local loss, MB ", "".join(f"{size:7.2f}" for size in by_local))

assert by_backprop[-1] > 10 * by_backprop[0]
assert max(by_local[1:]) < 1.01 * min(by_local[1:])

# %%
figure, axes = plt.subplots(figsize=(6, 3))
axes.plot(DEPTHS, by_backprop, marker="o", label="backprop")
axes.plot(DEPTHS, by_local, marker="s", label="local losses, immediate")
axes.set(title="Activations kept in a step, MB", xlabel="hidden layers", xticks=DEPTHS)
axes.legend(frameon=False)
figure.tight_layout()
plt.show()

# %% [markdown]
# Backprop's curve rises with every layer. That of local losses is flat: at any moment
# the activations of one block and its head are alive.
#
# Activations are only a part of the memory of a step. Weights, gradients and the state
# of the optimizer are others. [Schedules](../docs/schedules.md) has the peak of the
# complete process, with a record.
#
# ## It learns, too
#
# Train sixteen hidden layers on handwritten digits. Each step of Adam updates one
# block, right after it has run.

# %%
digits = tasks.find("digits-mlp").load(None)
torch.manual_seed(0)
model = network(depth=16, width=128)
handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()))
optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()], lr=1e-3)
handle.follow(bp.Immediate(optimizer))

for _ in range(12):
    for rows in torch.randperm(len(digits.train)).split(64):
        targets = digits.train.targets[rows]
        with handle.targets(targets):
            loss = F.cross_entropy(model(digits.train.inputs[rows]), targets)
        loss.backward()  # only the last block
        optimizer.step()
        optimizer.zero_grad()

with torch.no_grad():
    right = model(digits.test.inputs).argmax(1) == digits.test.targets
print(f"{right.float().mean():.1%} of test images")

assert right.float().mean() > 0.85

# %% [markdown]
# ## What cannot be done
#
# A rule that needs the error at the output must wait for it, so it cannot learn within
# the forward pass. The library raises an error instead of silently keeping the
# activations:

# %%
model = network(depth=2)
handle = bp.attach(model, bp.DirectFeedbackAlignment())
try:
    handle.follow(bp.Immediate(torch.optim.SGD(model.parameters(), lr=0.1)))
except bp.UserError as error:
    print(error)
else:
    raise AssertionError("direct feedback alignment waits for the output's error")

# %% [markdown]
# ## What to try next
#
# - Direct random target projection also learns within the forward pass, without heads:
#   use `bp.DirectRandomTargetProjection()` instead of the local loss.
# - Put the blocks on several processes, with no backward wave between them:
#   [Pipeline](../docs/schedules.md#pipeline).
# - Measure the peak of a whole process, and on a GPU: `beyondprop.measure.peak_memory`
#   ([Measures](../docs/measures.md)).
# - Train each part without any other part in memory: [Distil a model in
#   pieces](distil_pieces.py).
