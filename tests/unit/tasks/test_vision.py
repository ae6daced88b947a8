"""Every rule on the networks for pictures: it teaches them, or says in a line why it does not."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from beyondprop.errors import UserError
from beyondprop.models.transformer import BLOCKS, vit
from beyondprop.rules import RULES
from beyondprop.tasks import Task, attached, call, find
from beyondprop.tasks.calling import taught

SIDE = 8
REFUSED = {
    "ff": "teaches a GoodnessNetwork",
    "softhebb": "give it another rule|use affine=False",
    "pepita": "teaches chains",
    "pc": "teaches chains",
    "epc": "teaches chains",
    "dualprop": "teaches chains",
}
"""What rules say that teach none of these networks, which have norms."""
OF_CHAINS = {"dtp": "teach consecutive blocks that hold all modules of the chain"}
"""What rules say besides that teach a chain with norms, but no transformer."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.RandomState(0)
    for name, low in (("dark", 0), ("light", 120)):
        (folder / name).mkdir()
        for number in range(10):
            pixels = generator.randint(low, low + 120, (SIDE, SIDE, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def networks(pictures: Path) -> dict[str, Task]:
    """Return tasks of pictures: two by networks of one's own folder, two of the package."""
    model = partial(vit, SIDE, patch=4, width=8, layers=2, heads=2, classes=2)
    kind = {"blocks": BLOCKS, "axes": "batch tokens features"}
    return {
        "folder": Task.from_folder(pictures, SIDE),
        "folder-vit": Task.from_folder(pictures, SIDE, model=model, **kind),
        "fashion-small-vit": find("fashion-small-vit"),
    }


def reason(name: str, rule: str) -> str | None:
    """Return what a rule says that cannot teach a network."""
    return (REFUSED | OF_CHAINS if "vit" in name else REFUSED).get(rule)


def step(task: Task, rule: str) -> nn.Module:
    """Return a task's model after the backward pass of a batch by a rule."""
    torch.manual_seed(0)
    model = task.model()
    handle = attached(task, model, RULES.make(rule), task.blocks)
    inputs, targets = task.load(None).train.batch(slice(6))
    with taught(handle, targets):
        task.loss(call(model, inputs), targets).backward()
    return model


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("name", ["folder", "folder-vit", "fashion-small-vit"])
def test_every_rule_teaches_or_says_why_not(pictures: Path, name: str, rule: str) -> None:
    task = networks(pictures)[name]
    if said := reason(name, rule):
        with pytest.raises(UserError, match=said):
            step(task, rule)
        return
    model = step(task, rule)
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    learning = any(gradient.any() for gradient in gradients[:-2])  # the last layer is exact
    assert learning == (rule != "frozen")
