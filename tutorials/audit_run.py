# %% [markdown]
# # Audit a run
#
# Two networks of the same accuracy can differ in every other property: in what they
# forget, in how confident they are when they are wrong, and in how easily they are
# fooled. An *audit* examines these properties of trained runs and compares rules by
# them. In this tutorial you train three runs, audit them, and see why an attack needs
# exact gradients.

# %%
import json
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop import tasks
from beyondprop.cli import main as beyondprop
from beyondprop.experiment import CompareSpec, compare

# %% [markdown]
# ## Three runs
#
# A comparison trains the named rules from the same initial weights, on the same
# batches, and writes a folder with a record and the trained weights. One seed and one
# learning rate are enough to learn the tool, but too few to judge a rule.

# %%
storage = TemporaryDirectory()
spec = CompareSpec(
    task="digits-mlp",
    rules=("backprop", "dfa", "frozen"),
    seeds=(0,),
    learning_rates=(3e-3,),
    epochs=5,
    measure_cost=False,
)
with chdir(storage.name):
    compared = compare(spec, Path("runs/digits"))
for row in compared["rows"]:
    print(f"{row['rule']:10} {row['score_mean']:.1%} of test images")

# %% [markdown]
# `compare` adds a linear model on the pixels as a third control, and trains the last
# layer of the frozen network until it no longer improves. On images as easy as these,
# both controls are hard to beat. Check this before you rely on any table.

# %% [markdown]
# ## Run the audit
#
# The command takes the folder. Each *section* asks one question. Here the questions are
# how reliable a model's confidence is, and what it forgets when it learns the classes
# in pairs. In a terminal you would write
#
# ```text
# beyondprop audit runs/digits --sections calibration forgetting --output runs/audit
# ```
#
# A section is given the plain model, without a rule attached, so all gradients are
# exact.

# %%
sections = ["--sections", "calibration", "forgetting"]
with chdir(storage.name):
    assert (
        beyondprop(["audit", "runs/digits", *sections, "--output", "runs/audit"]) == 0
    )
    audited = json.loads(Path("runs/audit/audit.json").read_text("utf-8"))
storage.cleanup()

# %% [markdown]
# The table has a row for each rule. `audit.json` holds every answer in full, and
# `report.html` in the same folder shows them on one page with figures. Look at two of
# them.

# %%
by_rule = {run["rule"]: run["answers"] for run in audited["runs"]}
for rule, said in by_rule.items():
    print(f"{rule}: {said['calibration']['verdict']}\n")
forgotten = {rule: said["forgetting"]["forgetting"] for rule, said in by_rule.items()}
for rule, share in forgotten.items():
    print(f"{rule:10} lost {100 * share:.0f} points of accuracy on earlier classes")

assert min(forgotten["backprop"], forgotten["dfa"]) > 0.3

# %% [markdown]
# Backprop and direct feedback alignment both forget. The rules are not the cause:
# nothing in this training makes the network keep what it has learned.
#
# ## Why exact gradients
#
# Suppose that someone attacks a network that was trained by direct feedback alignment,
# with the rule still attached. The attack follows the gradient of the loss with respect
# to the image. But under this rule the graph ends between blocks: the signal that
# reaches the image went through random matrices, and is not the gradient. The attack is
# weaker than it could be, and the network looks more robust than it is.


# %%
def train(rule: bp.rules.Rule) -> nn.Sequential:
    """Return a network trained on digits, with the rule attached."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh())
    model.append(nn.Linear(128, 10))
    handle = bp.attach(model, rule)
    optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()])
    for _ in range(10):
        for rows in torch.randperm(len(digits.train)).split(64):
            loss = F.cross_entropy(
                model(digits.train.inputs[rows]), digits.train.targets[rows]
            )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


def attacked(model: nn.Module, epsilon: float, steps: int = 10) -> float:
    """Return the accuracy on test images changed by projected gradient descent."""
    x, y = digits.test.inputs, digits.test.targets
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
        moved = moved.detach() + epsilon / 4 * gradient.sign()
        moved = x + (moved - x).clamp(-epsilon, epsilon)
    with torch.no_grad():
        return (model(moved).argmax(1) == y).float().mean().item()


digits = tasks.find("digits-mlp").load(None)
model = train(bp.DirectFeedbackAlignment())
epsilons = [
    share * float(digits.test.inputs.max()) for share in (0.0, 0.05, 0.1, 0.15, 0.2)
]
apparent = [attacked(model, epsilon) for epsilon in epsilons]
with bp.exact_gradients(model):
    true = [attacked(model, epsilon) for epsilon in epsilons]
print("through the feedback graph ", "  ".join(f"{score:6.1%}" for score in apparent))
print("by exact gradients         ", "  ".join(f"{score:6.1%}" for score in true))

assert all(exact <= seen for exact, seen in zip(true, apparent, strict=True))
assert true[2] < apparent[2] - 0.1

# %%
figure, axes = plt.subplots(figsize=(6, 3))
axes.plot(
    epsilons,
    [100 * score for score in apparent],
    "o--",
    label="through the feedback graph",
)
axes.plot(epsilons, [100 * score for score in true], "s-", label="by exact gradients")
axes.set(title="Accuracy under attack, %", xlabel="largest change of a pixel")
axes.legend(frameon=False)
figure.tight_layout()
plt.show()

# %% [markdown]
# The network and the attack are the same. The distance between the curves measures the
# weakness of the attack, not the strength of the network. So attack, explain and export
# under `bp.exact_gradients(model)`, or after `handle.remove()`; the audit's own
# sections always do. The page [Robustness](../docs/audit/robustness.md) shows how
# misleading attacks through the feedback of other rules are.
#
# ## What to try next
#
# - Ask all questions: leave out `--sections`. This adds the section `minima` and, with
#   `pip install ".[audit]"`, `robustness`, `explanations` and `fairness`.
# - Give several seeds, so that the table has intervals and explanations can be compared
#   between runs: [The audit](../docs/audit.md).
# - Write your own section: a class with one method, named by `module:attribute`.
# - Read the results of audits of many rules: [The five questions,
#   answered](../docs/audit/answers.md).
