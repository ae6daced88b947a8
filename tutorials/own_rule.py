# %% [markdown]
# # Your own rule in ten lines
#
# A *rule* determines where the teaching signal of a block comes from. The engine does
# the rest: it cuts the graph between blocks, finds the shapes, calls the rule in the
# backward pass and reports what changed. In this tutorial you write your own rule,
# check what it does, and compare it with its nearest relative and with both controls.
# The first try fails, and the controls show it.

# %%
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop import tasks
from beyondprop.core import ForwardPass
from beyondprop.measure import isolation
from beyondprop.rules import DirectRule

digits = tasks.find("digits-mlp").load(None)

# %% [markdown]
# ## The rule
#
# Direct feedback alignment sends the error at the output straight to every block,
# through a fixed random matrix. This rule sends only the *sign* of each error: one bit
# per number, which suits hardware that cannot transmit real values. A `DirectRule`
# needs one method, which returns the message; the random matrices belong to a
# projection, which the base class provides. Its `traits` are the properties that checks
# and records use; one of them differs here.


# %%
@dataclass(frozen=True)
class SignFeedback(DirectRule):
    """Sign feedback: only the signs of the output error go to every block."""

    name: ClassVar[str] = "sign-feedback"
    traits = DirectRule.traits.but(scales_with_loss=False)

    def messages(self, run: ForwardPass) -> Sequence[Tensor | None]:
        """Return the signs, divided by the batch size like a mean loss's gradient."""
        return [
            None if error is None else error.sign() / len(error) for error in run.errors
        ]


# %% [markdown]
# ## What it does
#
# Attach it like any other rule. The report names it, and `isolation` confirms that no
# block learns through the weights of a later one.


# %%
def network(seed: int) -> nn.Sequential:
    """Return three linear layers."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


model = network(seed=0)
handle = bp.attach(model, SignFeedback())
print(handle.report)

x, y = digits.validation.inputs, digits.validation.targets
assert isolation(handle, x, y).isolated

# %% [markdown]
# The first block's gradient depends only on signs. To check this, double the loss. The
# error at the output and the last block's gradient double, but the signs stay the same,
# and so does the first block's gradient, to the last bit.


# %%
def gradients(scale: float) -> list[Tensor]:
    """Return the gradients of the first and the last weight under a scaled loss."""
    model.zero_grad()
    (scale * F.cross_entropy(model(x), y)).backward()
    return [model[place].weight.grad.clone() for place in (0, 4)]


(first, last), (first_doubled, last_doubled) = gradients(1), gradients(2)
print("first block changed:", not torch.equal(first, first_doubled))
print("last block doubled: ", torch.allclose(2 * last, last_doubled))

assert torch.equal(first, first_doubled)
assert torch.allclose(2 * last, last_doubled)

# %% [markdown]
# ## Does it learn?
#
# Compare it with direct feedback alignment and with both controls, over three seeds.
# All rules start from the same weights and see the same batches in the same order.


# %%
def trained_accuracy(rule: bp.rules.Rule, seed: int, epochs: int = 10) -> float:
    """Return the test accuracy of a network that the rule has trained."""
    model = network(seed)
    handle = bp.attach(model, rule)
    optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()])
    for _ in range(epochs):
        for rows in torch.randperm(len(digits.train)).split(64):
            targets = digits.train.targets[rows]
            with handle.targets(targets):
                loss = F.cross_entropy(model(digits.train.inputs[rows]), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    with torch.no_grad():
        right = model(digits.test.inputs).argmax(1) == digits.test.targets
    return right.float().mean().item()


SEEDS = (0, 1, 2)


def over_seeds(rule: bp.rules.Rule) -> list[float]:
    """Return a rule's accuracy from each seed, and print them with their mean."""
    scores = [trained_accuracy(rule, seed) for seed in SEEDS]
    listed = " ".join(f"{score:.1%}" for score in scores)
    print(f"{rule.name:14} {sum(scores) / len(scores):.1%}   {listed}")
    return scores


rules = (bp.Backprop(), bp.DirectFeedbackAlignment(), SignFeedback(), bp.Frozen())
found = {rule.name: over_seeds(rule) for rule in rules}


def beats(better: str, worse: str) -> bool:
    """Return whether one rule is above another on every seed."""
    return all(a > b for a, b in zip(found[better], found[worse], strict=True))


assert beats("dfa", "frozen")
assert beats("frozen", "sign-feedback")

# %% [markdown]
# It does not: on every seed it ends below the frozen control, whose hidden layers learn
# nothing at all. Without that control, it would look like a rule that learns slowly.
#
# ## What went wrong
#
# Look at the error of one image, before and after the sign is taken. The right class
# has a large negative error, and the nine others have small positive errors. The sign
# gives all of them the same magnitude, so the nine outweigh the one, and every image
# pushes the hidden layers in the same direction.

# %%
with torch.no_grad():
    outputs = network(seed=0)(x[:1])
error = outputs.softmax(1) - F.one_hot(y[:1], 10)
print("error ", " ".join(f"{value:+.2f}" for value in error[0].tolist()))
print("sign  ", " ".join(f"{value:+5.0f}" for value in error.sign()[0].tolist()))

assert abs(error.sum()) < 1e-6
assert error.sign().sum() == 8

# %% [markdown]
# The true errors sum to zero; their signs sum to eight.
#
# ## The second try
#
# Send the signs with two magnitudes: the mean of the positive errors, and the mean of
# the negative ones. This adds two numbers per image, and the sum is zero again.


# %%
def level(part: Tensor) -> Tensor:
    """Return errors of one sign, (batch, classes), levelled to the row's mean."""
    sign = part.sign()
    return (
        sign
        * part.abs().sum(1, keepdim=True)
        / sign.abs().sum(1, keepdim=True).clamp(min=1)
    )


@dataclass(frozen=True)
class TwoLevels(DirectRule):
    """Two-level feedback: signs of the output error, with a magnitude for each sign."""

    name: ClassVar[str] = "two-levels"

    def messages(self, run: ForwardPass) -> Sequence[Tensor | None]:
        """Return the errors, positive and negative ones levelled."""
        return [
            None
            if error is None
            else level(error.clamp(min=0)) + level(error.clamp(max=0))
            for error in run.errors
        ]


found["two-levels"] = over_seeds(TwoLevels())

assert beats("two-levels", "frozen")

# %%
figure, axes = plt.subplots(figsize=(6, 2.6))
for row, scores in enumerate(reversed(found.values())):
    axes.plot([100 * score for score in scores], [row] * len(scores), "o")
axes.set_yticks(range(len(found)), list(reversed(found)))
axes.set_title("Test accuracy, %, of each seed")
figure.tight_layout()
plt.show()

# %% [markdown]
# Now the rule beats the frozen control on every seed, within the same ten epochs. Three
# seeds cannot show whether it is better or worse than direct feedback alignment. The
# frozen network would improve with more epochs: the command below trains its last layer
# until it no longer does.
#
# ## The same on the command line
#
# Save the second class in `my_ideas.py`. Every command accepts it as
# `module:attribute`; you register nothing and change nothing in the library:
#
# ```text
# beyondprop check digits-mlp --rule my_ideas:TwoLevels
# beyondprop compare --task digits-mlp --rules backprop,dfa,my_ideas:TwoLevels,frozen
# ```
#
# `compare` searches a learning rate for each rule within the same budget, repeats the
# comparison over seeds and tests the differences for significance.
#
# ## What to try next
#
# - Send nothing where the error is small: a rule of three levels.
# - Write a rule of another kind (a loss for each block, a backward pass through other
#   weights), which needs no more code: [How to add a
#   rule](../CONTRIBUTING.md#how-to-add-a-rule-in-five-steps) has an example of each.
# - Give a rule arguments, and name them on the command line:
#   [Extending](../docs/extending.md).
# - Send the signals by light: [The requirements of an optical feedback
#   path](optical_feedback.py).
