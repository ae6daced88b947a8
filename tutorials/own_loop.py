# %% [markdown]
# # Your own training loop
#
# BeyondProp leaves the training loop to you. You attach a rule to a model, and your
# existing loop trains it. In this tutorial you train a network on handwritten
# digits three times, with the same loop: by direct feedback alignment, by
# backpropagation, and with its hidden layers frozen. Then you measure whether any error
# still travels backward from layer to layer.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop import tasks
from beyondprop.measure import alignment, isolation

# 8x8 images of digits, part of the package: nothing is downloaded.
digits = tasks.find("digits-mlp").load(None)
print(len(digits.train), "training images of", digits.train.inputs.shape[1], "pixels")


# %%
def network() -> nn.Sequential:
    """Return three linear layers, drawn from the same seed each time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 128),
        nn.Tanh(),
        nn.Linear(128, 128),
        nn.Tanh(),
        nn.Linear(128, 10),
    )


# %% [markdown]
# ## Attach a rule
#
# `bp.attach` changes the model in place. It wraps nothing and renames nothing, so the
# keys of the `state_dict` stay the same and your checkpoints still load. The report
# says which blocks the model was divided into and what teaches each of them.

# %%
model = network()
keys = list(model.state_dict())
handle = bp.attach(model, bp.DirectFeedbackAlignment())
print(handle.report)

assert list(model.state_dict()) == keys

# %% [markdown]
# ## The loop
#
# This is an ordinary PyTorch loop with one addition: `handle.targets(y)`. Rules that
# teach hidden layers from the targets read them there. For all other rules, including
# direct feedback alignment, the line does nothing, so the same loop works for every
# rule.
#
# After each epoch the loop also records the *alignment*: the cosine of the angle
# between the update that the rule gives a layer and the true gradient. A cosine above
# zero means that the update lowers the loss.


# %%
def train(
    model: nn.Module, handle: bp.Attachment, epochs: int = 10
) -> list[tuple[float, float]]:
    """Train, and return by epoch: validation accuracy, first layer's alignment."""
    optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()])
    x, y = digits.validation.inputs, digits.validation.targets
    course = []
    for _ in range(epochs):
        for rows in torch.randperm(len(digits.train)).split(64):
            inputs, targets = digits.train.inputs[rows], digits.train.targets[rows]
            with handle.targets(targets):
                loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        cosine = alignment(handle, x, y, F.cross_entropy)[handle.blocks[0].name]
        course.append(
            (accuracy(model, digits.validation), 0.0 if cosine is None else cosine)
        )
    return course


def accuracy(model: nn.Module, split) -> float:
    """Return the share of images that the model classifies correctly."""
    with torch.no_grad():
        return (model(split.inputs).argmax(1) == split.targets).float().mean().item()


by_feedback = train(model, handle)
print(f"direct feedback alignment: {accuracy(model, digits.test):.1%} of test images")

# %% [markdown]
# ## Two controls
#
# One accuracy shows little: a network whose hidden layers never learn also classifies
# most digits correctly. Every result therefore needs two controls. *Backprop* is the
# result of exact gradients, and *frozen* is the result of the last layer alone, on
# random features. The share of the distance between the two that a rule covers is its
# *recovery*.

# %%
courses, tested = {"direct feedback alignment": by_feedback}, {}
tested["direct feedback alignment"] = accuracy(model, digits.test)
for name, rule in {"backprop": bp.Backprop(), "frozen": bp.Frozen()}.items():
    control = network()
    courses[name] = train(control, bp.attach(control, rule))
    tested[name] = accuracy(control, digits.test)

for name, score in tested.items():
    print(f"{name:26} {score:.1%}")
gap = tested["backprop"] - tested["frozen"]
recovery = (tested["direct feedback alignment"] - tested["frozen"]) / gap
print(f"recovery {recovery:.0%}")

assert tested["direct feedback alignment"] > tested["frozen"]

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
for name, course in courses.items():
    epochs = range(1, len(course) + 1)
    left.plot(
        epochs,
        [100 * score for score, _ in course],
        marker="o",
        markersize=3,
        label=name,
    )
right.plot(epochs, [cosine for _, cosine in by_feedback], marker="o", markersize=3)
left.set(title="Validation accuracy, %", xlabel="epoch")
right.set(title="Alignment of the first layer", xlabel="epoch", ylim=(0, 1))
left.legend(frameon=False)
figure.tight_layout()
plt.show()

assert by_feedback[-1][1] > 0.1

# %% [markdown]
# All three had the same ten epochs. With more epochs the frozen network would continue
# to improve, because random features are enough to classify most digits. `beyondprop
# compare` therefore trains its last layer until it no longer improves, which is the
# stricter control.
#
# The alignment is above zero although the feedback matrices are random and fixed. The
# forward weights learn to agree with the feedback: hence the name *feedback alignment*.
#
# ## Does any error travel backward?
#
# You called `loss.backward()`, so how do you know that this was not backpropagation?
# `isolation` holds the output error fixed, changes the weights of one block, and
# compares the gradients of the blocks before it. Under backprop they change, because
# the error passes through those weights. Under direct feedback alignment they stay the
# same to the last bit.

# %%
x, y = digits.validation.inputs, digits.validation.targets
measured = isolation(handle, x, y)
print(measured)

assert measured.isolated
handle.remove()
assert not isolation(bp.attach(model, bp.Backprop()), x, y).isolated

# %% [markdown]
# ## Exact gradients, when you need them
#
# Attacks, attributions and saliency maps need the true gradient of the trained model.
# Use `bp.exact_gradients` for it, or call `handle.remove()`, which leaves the plain
# model with its trained weights.

# %%
image = digits.test.inputs[:1].clone().requires_grad_()
with bp.exact_gradients(model):
    (saliency,) = torch.autograd.grad(model(image)[0, digits.test.targets[0]], image)
bp.attachment_of(model).remove()

figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2.6))
left.imshow(image.detach().reshape(8, 8).numpy(), cmap="gray_r")
right.imshow(saliency.abs().reshape(8, 8).numpy(), cmap="magma")
left.set_title("A digit")
right.set_title("What its class depends on")
for axes in (left, right):
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
plt.show()

# %% [markdown]
# ## What to try next
#
# - Replace `bp.DirectFeedbackAlignment()` by another rule from [the
#   list](../docs/choosing.md): the loop needs no change.
# - Give each part of a model its own rule: [Attaching a rule to a
#   model](../docs/attach.md).
# - One seed is not evidence. `beyondprop compare` repeats the comparison over seeds and
#   learning rates and reports intervals: [Experiments](../docs/experiments.md).
# - Write a rule yourself, in the [next tutorial](own_rule.py).
