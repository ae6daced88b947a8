# %% [markdown]
# # Slot machines and zero forgetting
#
# An ordinary network learns the values of its weights. A *slot machine* learns none:
# each connection has a few fixed random values, its reel, and training moves only the
# choice among them. The network is stored as a seed and a few bits per weight. Because
# only choices are learned, one network can hold a separate selection for each of
# several tasks, so learning one task cannot harm another.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondprop import slots, tasks

digits = tasks.find("digits-mlp").load(None)
x, y = digits.train.inputs, digits.train.targets
test_x, test_y = digits.test.inputs, digits.test.targets


def network() -> nn.Sequential:
    """Return three linear layers."""
    return nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, part: Tensor, epochs: int
) -> None:
    """Train on a part of the data."""
    rows = torch.nonzero(part).squeeze(1)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(64):
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()


@torch.no_grad()
def accuracy(model: nn.Module, part: Tensor) -> float:
    """Return the share of test images of a part that the model classifies correctly."""
    return (model(test_x[part]).argmax(1) == test_y[part]).float().mean().item()


# %% [markdown]
# ## Convert a model
#
# `slots.convert` changes the model in place. The weight of each layer is still an
# ordinary parameter under its own name; it holds the chosen values. `slots.drive` makes
# an ordinary optimizer update the choices: each candidate value has a score, the
# gradient changes the scores, and the value with the highest score is the weight.

# %%
torch.manual_seed(0)
model = network()
machine = slots.convert(model, slots=8)
print(machine.report)

untrained = model[0].weight.detach().clone()
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
slots.drive(optimizer, model)
everything = torch.ones(len(y), dtype=torch.bool)
train(model, optimizer, everything, epochs=15)

all_tests = torch.ones(len(test_y), dtype=torch.bool)
moved = (model[0].weight != untrained).float().mean()
print(f"{accuracy(model, all_tests):.1%} of test images")
print(f"{moved:.0%} of the first layer's choices moved")

assert accuracy(model, all_tests) > 0.9

# %% [markdown]
# ## Three bits per weight
#
# A choice among eight values needs three bits. The values themselves need none: they
# are drawn again from the seed. `slots.load` fills an ordinary network with exactly the
# same function.

# %%
with TemporaryDirectory() as folder:
    packed, plain = Path(folder, "digits.slots"), Path(folder, "digits.pt")
    slots.pack(model, packed)
    torch.save(model.state_dict(), plain)
    loaded = slots.load(packed, network())
    small, large = packed.stat().st_size, plain.stat().st_size
print(f"packed {small:,} bytes, as a state dict {large:,} bytes")

assert torch.equal(loaded(test_x), model(test_x))
assert large > 5 * small

# %% [markdown]
# ## Two tasks, one after the other
#
# The first task is to classify the digits 0 to 4, the second to classify 5 to 9. An
# ordinary network that learns them in this order forgets the first:

# %%
low, high = y < 5, y >= 5
test_low, test_high = test_y < 5, test_y >= 5

torch.manual_seed(0)
ordinary = network()
optimizer = torch.optim.SGD(ordinary.parameters(), lr=0.1, momentum=0.9)
train(ordinary, optimizer, low, epochs=8)
before = accuracy(ordinary, test_low)
train(ordinary, optimizer, high, epochs=8)
after = accuracy(ordinary, test_low)
print(f"0 to 4: {before:.1%}, and {after:.1%} when 5 to 9 have been learned")

assert before > 0.9
assert after < 0.1

# %% [markdown]
# The second task suppresses the outputs for 0 to 4, because its images never belong to
# these classes.
#
# A *bank* stores a selection for each task. `restart` restores the initial scores,
# `keep` stores the selection under the task's name, and `use` applies it again. All
# tasks share the fixed values.

# %%
torch.manual_seed(0)
model = network()
slots.convert(model, slots=8)
bank = slots.bank(model)
learned = {}
for task, part, test_part in (("low", low, test_low), ("high", high, test_high)):
    bank.restart()
    optimizer = slots.drive(
        torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9), model
    )
    train(model, optimizer, part, epochs=8)
    bank.keep(task)
    with torch.no_grad():
        learned[task] = model(test_x[test_part])  # the outputs right after learning

kept = {}
for task, test_part in (("low", test_low), ("high", test_high)):
    bank.use(task)
    kept[task] = accuracy(model, test_part)
    with torch.no_grad():
        same = torch.equal(model(test_x[test_part]), learned[task])
    print(f"{task:4} {kept[task]:.1%}, outputs as when it had been learned: {same}")
    assert same
    assert kept[task] > 0.9

# %%
figure, axes = plt.subplots(figsize=(6.5, 2.4))
axes.barh(
    ["bank of choices", "ordinary weights"],
    [100 * kept["low"], 100 * after],
    height=0.5,
)
axes.set(title="Accuracy on 0 to 4 after 5 to 9 were learned, %", xlim=(0, 100))
figure.tight_layout()
plt.show()

# %% [markdown]
# The bank's outputs are the same to the last bit. This is guaranteed: learning the
# second task changes nothing that the first one uses. Each task costs three bits per
# weight.
#
# ## Which task is it?
#
# So far you named the task. `bank.infer_each` infers it from unlabelled inputs: it
# chooses the selection whose outputs have the lowest entropy. It works if the inputs of
# the tasks differ, and better with more images.

# %%
for task, test_part in (("low", test_low), ("high", test_high)):
    images = test_x[test_part]
    groups = images.split(20)[:-1]
    right = sum(bank.infer_each(group) == task for group in groups)
    print(f"{task:4} recognised in {right} of {len(groups)} groups of 20 images")
    assert right > len(groups) / 2

# %% [markdown]
# ## What to try next
#
# - Train the scores by a different rule: `bp.attach(model,
#   bp.DirectFeedbackAlignment())` after `convert`.
# - Use two values per connection instead of eight, or a supermask (a value or zero):
#   [Slot machines and supermasks](../docs/slots.md).
# - Continue training from the chosen values as from an ordinary initialisation:
#   `slots.finetune(model)`.
# - Compare a bank with replay, elastic weight consolidation and others: [Continual
#   learning](../docs/continual.md).
