"""Ridge regression on random features by light, compared with their kernel and with controls.

Every penalty and learning rate is chosen on the validation split; the test split is scored once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondprop.optics import (
    OpticalFeatures,
    PhotonicProcessor,
    ideal,
    lighton_opu,
)
from beyondprop.tasks import Split, accuracy, find
from beyondprop.tasks.random_features import GREY, explained

PENALTIES = tuple(10.0**k for k in range(2, -6, -1))
"""In units of a training row's mean squared length; of equally good ones, the largest is chosen."""

RATES = (1e-3, 3e-3)
DEVICES: dict[str, Callable[[], PhotonicProcessor]] = {"ideal": ideal, "lighton-opu": lighton_opu}
Parts = tuple[Tensor, Tensor, Tensor]
"""Tensors of the training, the validation and the test samples."""


@dataclass(frozen=True)
class Problem:
    """A prediction problem.

    Attributes:
        task: The task whose data are used.
        sizes: Most training, validation and test samples.
        thresholds: The thresholds of the mirrors.
        metric: The name of the score.
    """

    task: str
    sizes: tuple[int, int, int]
    thresholds: tuple[float, ...]
    metric: str

    def parts(self, seed: int) -> tuple[Split, Split, Split]:
        """Return the three splits as vectors; the training samples are drawn by the seed."""
        data = find(self.task).load(None)
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
        rows = order, torch.arange(len(data.validation)), torch.arange(len(data.test))
        splits = zip((data.train, data.validation, data.test), rows, self.sizes, strict=True)
        train, validation, test = (
            Split(part.inputs[row[:most]].flatten(1), part.targets[row[:most]])
            for part, row, most in splits
        )
        return train, validation, test


PROBLEMS = {
    "mnist": Problem("mnist-mlp", (6000, 2000, 5000), (0.0,), "accuracy"),
    "digits": Problem("digits-mlp", (1257, 180, 360), GREY, "accuracy"),
    "completion": Problem("digits-optical-completion", (1257, 180, 360), GREY, "R²"),
}


def scores(name: str, sizes: tuple[int, ...], seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row per way to predict: its scores and the number of learned weights.

    Args:
        name: One of `PROBLEMS`.
        sizes: The numbers of features.
        seed: The seed of the training samples, the medium, the noise and the initial weights.
    """
    problem = PROBLEMS[name]
    splits = problem.parts(seed)
    grey: Parts = tuple(part.inputs for part in splits)  # type: ignore[assignment]
    mirrors = _each(OpticalFeatures(1, problem.thresholds).mirrors, grey)
    ways: dict[tuple[str, str, int], Callable[[], tuple[float, float, float, int]]] = {
        ("linear ridge, grey", "–", 0): lambda: ridge(grey, splits),
        ("linear ridge, mirrors", "–", 0): lambda: ridge(mirrors, splits),
    }
    for n in sizes:
        for device, built in DEVICES.items():
            light = OpticalFeatures(n, problem.thresholds, built(), seed=seed)
            ways["ridge on light", device, n] = partial(_on_light, light, grey, splits)
    ways["kernel ridge, exact", "–", 0] = lambda: kernel_ridge(*kernels(mirrors), splits)
    ways["backprop MLP, mirrors", "–", 0] = lambda: mlp(mirrors, splits, seed)
    ways["backprop MLP, grey", "–", 0] = lambda: mlp(grey, splits, seed)
    for (way, device, n), run in ways.items():
        choice, validation, test, learned = run()
        yield {
            "problem": name,
            "metric": problem.metric,
            "way": way,
            "device": device,
            "features": n,
            "seed": seed,
            "choice": choice,
            "validation": validation,
            "test": test,
            "learned": learned,
        }


def _on_light(
    light: OpticalFeatures, grey: Parts, splits: tuple[Split, Split, Split]
) -> tuple[float, float, float, int]:
    return ridge(_each(light, grey), splits)


@torch.no_grad()
def _each(layer: Callable[[Tensor], Tensor], parts: Parts) -> Parts:
    train, validation, test = (torch.cat([layer(x) for x in p.split(1000)]) for p in parts)
    return train, validation, test


def ridge(parts: Parts, splits: tuple[Split, Split, Split]) -> tuple[float, float, float, int]:
    """Return the penalty, both scores and the number of learned weights on these features."""
    mean = parts[0].mean(0)
    train, validation, test = (part - mean for part in parts)
    rows, width = train.shape
    learned = (width + 1) * one_hot(splits[0]).shape[1]
    if rows <= width:
        k, *cross = (part @ train.t() for part in (train, validation, test))
        return (*_dual(k, cross[0], cross[1], splits), learned)
    goal = one_hot(splits[0])
    centre = goal.mean(0)
    gram = (train.t() @ train).double()
    side = (train.t() @ (goal - centre).to(train.dtype)).double()

    def solved(penalty: float) -> Iterator[Tensor]:
        weights = _solve(gram, penalty * gram.trace() / rows, side)
        for part in (validation, test):
            yield part @ weights.to(part.dtype) + centre

    return (*_chosen(solved, splits), learned)


def kernels(parts: Parts) -> Parts:
    """Return the exact kernel ``cos²`` with the training samples, centred like features."""
    units = [part / part.norm(dim=1, keepdim=True).clamp(min=1) for part in parts]
    train, validation, test = ((unit @ units[0].t()).square().double() for unit in units)
    columns = train.mean(0)
    centred = [k - columns - k.mean(1, keepdim=True) + columns.mean() for k in (validation, test)]
    return train - columns - columns.unsqueeze(1) + columns.mean(), centred[0], centred[1]


def kernel_ridge(
    train: Tensor, validation: Tensor, test: Tensor, splits: tuple[Split, Split, Split]
) -> tuple[float, float, float, int]:
    """Return the same as `ridge`, from the centred kernels with the training samples."""
    return (*_dual(train, validation, test, splits), one_hot(splits[0]).numel())


def _dual(
    train: Tensor, validation: Tensor, test: Tensor, splits: tuple[Split, Split, Split]
) -> tuple[float, float, float]:
    goal = one_hot(splits[0])
    centre, kernel = goal.mean(0), train.double()

    def solved(penalty: float) -> Iterator[Tensor]:
        weights = _solve(kernel, penalty * kernel.trace() / len(kernel), goal - centre)
        for cross in (validation, test):
            yield cross.double() @ weights + centre

    return _chosen(solved, splits)


def _solve(matrix: Tensor, penalty: Tensor, side: Tensor) -> Tensor:
    shifted = matrix + penalty * torch.eye(len(matrix), dtype=matrix.dtype)
    return torch.cholesky_solve(side.to(matrix.dtype), torch.linalg.cholesky(shifted))


def _chosen(
    solved: Callable[[float], Iterator[Tensor]], splits: tuple[Split, Split, Split]
) -> tuple[float, float, float]:
    found = {}
    for penalty in PENALTIES:
        validation, test = solved(penalty)
        found[penalty] = score(validation, splits[1]), test
    best = max(found, key=lambda p: found[p][0])
    return best, found[best][0], score(found[best][1], splits[2])


def mlp(
    parts: Parts, splits: tuple[Split, Split, Split], seed: int
) -> tuple[float, float, float, int]:
    """Return the same as `ridge` for a hidden layer of 512, by backprop (20 epochs of Adam)."""
    classes = not splits[0].targets.is_floating_point()
    loss = F.cross_entropy if classes else F.mse_loss
    mean, size = parts[0].mean(), parts[0].std()
    train, validation, test = ((part - mean) / size for part in parts)
    best = (0.0, -torch.inf, -torch.inf, 0)
    for rate in RATES:
        torch.manual_seed(seed)
        outputs = one_hot(splits[0]).shape[1]
        model = nn.Sequential(nn.Linear(train.shape[1], 512), nn.ReLU(), nn.Linear(512, outputs))
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(20):
            for rows in torch.randperm(len(train)).split(64):
                optimizer.zero_grad()
                loss(model(train[rows]), splits[0].targets[rows]).backward()
                optimizer.step()
        with torch.no_grad():
            found = score(model(validation), splits[1])
            if found > best[1]:
                learned = sum(p.numel() for p in model.parameters())
                best = rate, found, score(model(test), splits[2]), learned
    return best


def one_hot(split: Split) -> Tensor:
    """Return the targets of a regression, float64: classes one-hot, numbers as they are."""
    if split.targets.is_floating_point():
        return split.targets.double()
    return F.one_hot(split.targets, 10).double()


def score(outputs: Tensor, split: Split) -> float:
    """Return the accuracy, or R² of numbers."""
    measured = explained if split.targets.is_floating_point() else accuracy
    return measured(outputs, split.targets)
