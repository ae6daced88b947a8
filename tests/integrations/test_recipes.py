"""The recipes of docs/integrations.md run as they are written, and train."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp

PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^```python no-run\n# (\w+)\.py\n(.*?)^```$", PAGE, re.S | re.M))

pytestmark = [pytest.mark.foreign, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to leave files in."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


def run(recipe: str, package: str) -> dict[str, Any]:
    """Return what a recipe has made; skip where its framework is not installed."""
    pytest.importorskip(package, reason=f"needs {package}, which is not installed")
    made: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(RECIPES[recipe], f"{recipe}.py", "exec"), made)
    return made


def test_every_recipe_is_run() -> None:
    assert list(RECIPES) == ["trainer", "with_accelerate", "with_lightning", "with_ignite"]


def test_hugging_face_trainer(here: Path) -> None:
    pytest.importorskip("accelerate", reason="needs accelerate, which is not installed")
    made = run("trainer", "transformers")
    assert made["result"].global_step == 8
    assert made["trainer"].state.log_history[-1]["train_loss"] > 0
    kept = made["transformers"].GPT2LMHeadModel.from_pretrained(here / "trained").state_dict()
    torch.testing.assert_close(kept, dict(made["model"].state_dict()))
    fresh = made["transformers"].GPT2LMHeadModel(made["model"].config)
    assert kept.keys() == fresh.state_dict().keys()


def by_hand(rule: str, parts: int) -> dict[str, torch.Tensor]:
    """Return what a loop without a framework learns, in steps of several parts."""
    torch.manual_seed(0)
    x, y = torch.randn(64, 8), torch.arange(64) % 3
    model = nn.Sequential(
        nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
    )
    handle = bp.attach(model, rule)
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.1)
    for number, rows in enumerate(torch.arange(64).split(16), 1):
        with handle.targets(y[rows]):
            loss = F.cross_entropy(model(x[rows]), y[rows])
        (handle.loss(loss) / parts).backward()
        if number % parts == 0:
            optimizer.step()
            optimizer.zero_grad()
    return dict(model.state_dict())


def test_accelerate_does_what_a_loop_by_hand_does() -> None:
    made = run("with_accelerate", "accelerate")
    torch.testing.assert_close(dict(made["model"].state_dict()), by_hand("drtp", 2))


def test_lightning_trains_and_its_checkpoint_holds_the_feedback(here: Path) -> None:
    made = run("with_lightning", "lightning")
    model = made["model"]
    assert made["trainer"].global_step == 8
    again = made["Classifier"].load_from_checkpoint(here / "model.ckpt")
    torch.testing.assert_close(dict(again.state_dict()), dict(model.state_dict()))
    torch.testing.assert_close(again.handle.state_dict(), model.handle.state_dict())
    assert again.handle.state_dict()


def test_ignite() -> None:
    losses = run("with_ignite", "ignite")["losses"]
    assert len(losses) == 8
    assert sum(losses[4:]) < sum(losses[:4])
