"""A linear layer solved to convergence, with a penalty that is chosen on validation data.

The objective is the task's loss plus ``penalty / 2`` times the squared weights, on features that
are standardised by the training data. The bias is not penalised. L-BFGS minimises the objective in
coordinates in which its Hessian is close to the identity for every penalty and also for rare
classes: the principal directions of the features' covariance, and for each direction the axes of
the loss's Hessian in the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.tasks import Metric

Loss = Callable[[Tensor, Tensor], Tensor]

FACTOR = 10**0.5
"""Ratio of neighbouring penalties."""
LEAST = 9
"""Minimum number of penalties to try: a range of four orders of magnitude."""
MOST = 31
"""Maximum number of penalties to try."""
INSIDE = 3
"""Number of lower penalties that must be no better than the best one, so that it is inside the
range."""
OPEN = "may be better"
"""Text on penalties beyond an end of the range that is not settled."""
UNCHANGED = 1e-5
"""Smallest relevant change of the loss at a lower penalty, relative to a constant output's loss."""
ROUGH, FINE = (200, 1e-3), (5000, 1e-5)
"""Maximum number of iterations, and the fraction of the first gradient at which they end: along the
path of penalties, and at the chosen penalty. In coordinates in which the Hessian is close to the
identity, the remaining gain is half the squared gradient."""
ABSENT = 1e-12
"""Count of a class without a sample in the search for the best constant."""
FLAT = 1e-7
"""For many values, the smallest relative decrease of the loss for another iteration: less is a
rounding error in single precision, and no score shows it."""
SMALL = 1e-3
"""Lower limit of the first gradient, relative to the square root of the loss."""
UNSEEN = 3e-8
"""A gradient, relative to the square root of the loss, at which double precision shows no further
gain: half its square is the remaining gain."""
RARE = 1e-7
"""Lower limit of an output's curvature, relative to the largest."""
LARGE = 10**7
"""Number of values above which features are in single precision along the path of penalties."""
ROWS, WIDTH = 20_000, 4096
"""Maximum number of rows and columns of features from which the basis is computed."""
ALONE = 0.1
"""Ratio of squared covariances to squared variances below which features are not rotated."""
STEP = 1e-2
"""Step in an output for second derivatives."""
BENT, OUTPUTS, BLOCKS = 10_000, 256, 10**7
"""Maximum numbers of rows, outputs and values for the computation of the Hessian's blocks. With
more outputs or values, only the curvature in each output is used."""
SHARED = 0.1
"""Share of the mean over rows that is added to each block."""


@dataclass(frozen=True)
class Features:
    """The data for solving a linear layer: features ``(n, ..., d)`` and the n targets."""

    features: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Problem:
    """The loss to minimise, and the metric that chooses the penalty.

    Attributes:
        loss: Function of (outputs, targets) that returns a scalar.
        metric: Function of (outputs, targets) that returns the mean score; higher is better.
        outputs: Number of the layer's outputs.
        shape: Shape of a sample's outputs for loss and metric.
        bias: Whether the layer has a bias.
    """

    loss: Loss
    metric: Metric
    outputs: int
    shape: torch.Size
    bias: bool = True

    def outputs_of(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the layer's outputs ``(n, *shape)`` for features ``(n, ..., d)``."""
        return (features @ weight + bias).reshape(-1, *self.shape)


@dataclass(frozen=True)
class Solution:
    """A solved layer.

    Attributes:
        weight: ``(outputs, d)`` float64, for features that are not standardised.
        bias: ``(outputs,)`` float64; zero if the layer has none.
        train_loss: Training loss without the penalty.
        found: Details of the solution for records.
    """

    weight: Tensor
    bias: Tensor
    train_loss: float
    found: dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """Standardisation of features: minus their mean (with a bias), divided by their deviation."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor, centred: bool) -> Scale:
        """Return the scale of features ``(n, ..., d)``, which sets constant features to zero."""
        rows = features.flatten(0, -2)
        mean = torch.zeros_like(rows[0], dtype=torch.float64)
        if centred:
            mean = torch.stack([part.double().sum(0) for part in rows.split(ROWS)]).sum(0)
            mean = mean / len(rows)
        squares = [(part.double() - mean).square().sum(0) for part in rows.split(ROWS)]
        deviation = (torch.stack(squares).sum(0) / len(rows)).sqrt()
        constant = deviation <= 1e-6 * mean.abs()
        return cls(mean, deviation.masked_fill(constant | (deviation == 0), math.inf))

    def __call__(self, features: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the standardised features in this precision."""
        return (features.to(dtype) - self.mean.to(dtype)) / self.deviation.to(dtype)


@dataclass(frozen=True)
class Point:
    """The state of a minimisation on standardised features.

    Attributes:
        weight: ``(d, outputs)`` float64.
        bias: ``(outputs,)`` float64.
        penalty: Coefficient of half the squared weights.
        loss: Training loss without the penalty.
        gradient: Norm of the objective's gradient in weights and bias.
        iterations: Number of iterations.
        converged: Whether the gradient fell below its tolerance, or the loss no longer falls.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    loss: float
    gradient: float = 0.0
    iterations: int = 0
    converged: bool = False


def slope(problem: Problem, outputs: Tensor, targets: Tensor) -> tuple[float, Tensor]:
    """Return the loss of rows' outputs, and its gradient in these, ``(rows, outputs)``."""
    outputs = outputs.detach().requires_grad_()
    with torch.enable_grad():
        loss = problem.loss(outputs.reshape(-1, *problem.shape), targets)
        (found,) = torch.autograd.grad(loss, outputs)
    return loss.item(), found


def hessians(problem: Problem, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums over rows of the loss's second derivatives in a row's outputs.

    The rows are independent. The derivatives are differences of gradients along each output.

    Args:
        problem: Problem with the loss.
        outputs: Outputs of each row, ``(rows, outputs)``.
        targets: Targets of the samples.
        weights: Weight of each row in each sum, ``(rows, sums)``.

    Returns:
        ``(sums, outputs, outputs)`` float64, symmetric.
    """
    columns = []
    for place in range(outputs.shape[1]):
        step = torch.zeros_like(outputs)
        step[:, place] = STEP
        change = slope(problem, outputs + step, targets)[1]
        change = change - slope(problem, outputs - step, targets)[1]
        columns.append((weights.T @ (change / (2 * STEP))).double())
    found = torch.stack(columns, 2).nan_to_num(0.0, 0.0, 0.0)
    return (found + found.mT) / 2


class Objective:
    """The penalised loss of the training samples.

    Args:
        problem: The problem to solve.
        features: Standardised features, ``(n, ..., d)``; their dtype is the precision.
        targets: Targets of the n samples.
    """

    def __init__(self, problem: Problem, features: Tensor, targets: Tensor) -> None:
        self.problem, self.features = problem, features
        self.rows = features.flatten(0, -2)
        self.targets = in_precision(targets, features.dtype)
        self.variance, self.basis = self._basis()

    def _basis(self) -> tuple[Tensor, Tensor | None]:
        """Return the variance along each direction of the basis, and the directions ``(d, d)``.

        The directions are None if they are the axes of the features.
        """
        width = self.rows.shape[1]
        if width > WIDTH:  # each standardised feature has variance 1
            return torch.ones(width, dtype=torch.float64), None
        some = self.rows[:: math.ceil(len(self.rows) / ROWS)]
        covariance = (some.T @ some).double() / len(some)
        own = covariance.diagonal()
        if (covariance.square().sum() - own.square().sum()) < ALONE * own.square().sum():
            return own, None  # for example one-hot features
        variance, basis = torch.linalg.eigh(covariance)
        return variance.clamp(min=0), basis

    def slope(self, outputs: Tensor) -> tuple[float, Tensor]:
        """Return the loss of the rows' outputs, and its gradient in these, ``(rows, outputs)``."""
        return slope(self.problem, outputs, self.targets)

    def outputs(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the layer's outputs for each row."""
        dtype = self.rows.dtype
        return torch.addmm(bias.to(dtype), self.rows, weight.to(dtype))

    def at(
        self, weight: Tensor, bias: Tensor, penalty: float
    ) -> tuple[float, float, Tensor, Tensor]:
        """Return the loss, the objective and its gradients in weight and bias, in float64."""
        loss, slope = self.slope(self.outputs(weight, bias))
        of_weight = (slope.T @ self.rows).T.double() + penalty * weight  # this order is fast
        of_bias = slope.sum(0, dtype=torch.float64) * self.problem.bias
        return loss, loss + penalty / 2 * weight.square().sum().item(), of_weight, of_bias

    def curvature(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the second derivative of the loss in each output, summed over rows.

        It is ``(outputs,)`` float64, above zero, from a difference of gradients along random signs
        (Hutchinson 1990).
        """
        outputs = self.outputs(weight, bias)
        drawn = torch.rand(outputs.shape, generator=torch.Generator().manual_seed(0))
        signs = (drawn < 0.5).to(outputs) * 2 - 1
        change = self.slope(outputs + STEP * signs)[1] - self.slope(outputs - STEP * signs)[1]
        found = (change * signs).sum(0, dtype=torch.float64) / (2 * STEP)
        return above_zero(found.nan_to_num(0.0, 0.0, 0.0))

    def bends(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the Hessian's diagonal blocks, as curvatures along axes in the outputs.

        There is one block for each direction of the basis, and one for the bias. A curvature of
        each output alone would not represent that a softmax is invariant to a shift of all outputs.
        A mean over rows would not represent that a feature occurs where few classes are likely, for
        example after a certain character of a text.

        Returns:
            The curvatures ``(d, outputs)``; those of the bias ``(outputs,)``, above zero; and the
            axes ``(d + 1, outputs, outputs)`` in columns, those of the bias last, or None if each
            output is an axis. All are float64.
        """
        width, count = weight.shape
        if not 1 < count <= OUTPUTS or width * count**2 > BLOCKS:
            curvature = self.curvature(weight, bias)
            return torch.outer(self.variance.to(weight), curvature), curvature, None
        every = math.ceil(len(self.rows) / BENT)
        some = self.features[::every].flatten(0, -2)
        outputs = torch.addmm(bias.to(some.dtype), some, weight.to(some.dtype))
        turned = some if self.basis is None else some @ self.basis.to(some)
        weights = torch.cat([turned.square(), turned.new_ones(len(turned), 1)], 1)
        blocks = hessians(self.problem, outputs, self.targets[::every], weights)
        # Only few rows contain information on a rare feature.
        blocks[:-1] += SHARED * self.variance.to(weight)[:, None, None] * blocks[-1]
        along, axes = torch.linalg.eigh(blocks)
        return along[:-1].clamp(min=0), above_zero(along[-1]), axes


def above_zero(curvature: Tensor) -> Tensor:
    """Return curvatures with a lower limit above zero."""
    largest = curvature.max().item()
    least = RARE * largest
    return curvature.clamp(min=least) if largest > 0 else torch.ones_like(curvature)


def in_precision(targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Return targets in a type that a loss accepts with outputs of this precision."""
    return targets.to(dtype) if targets.is_floating_point() else targets


def constant(problem: Problem, targets: Tensor, rows: torch.Size) -> Point:
    """Return the best constant output.

    Args:
        problem: The problem to solve.
        targets: Targets of the training samples.
        rows: Shape of the layer's outputs without the last dimension, ``(n, ...)``.
    """
    nothing = torch.zeros(*rows, 0, dtype=torch.float64, device=targets.device)
    objective = Objective(problem, nothing, targets)
    start = Point(
        torch.zeros(0, problem.outputs, dtype=torch.float64, device=targets.device),
        first_bias(problem, targets, rows),
        penalty=0.0,
        loss=math.nan,
    )
    return minimise(objective, 0.0, start, *FINE)


def first_bias(problem: Problem, targets: Tensor, rows: torch.Size) -> Tensor:
    """Return the initial point of the search for the best constant output, ``(outputs,)`` float64.

    If each row has a class, it is the logarithm of the classes' shares, which is already the best
    constant for cross-entropy. From zero, rare classes of a text would take hundreds of iterations.
    """
    zero = torch.zeros(problem.outputs, dtype=torch.float64, device=targets.device)
    if targets.is_floating_point() or targets.dtype == torch.bool or targets.shape != rows:
        return zero
    classes = targets[(targets >= 0) & (targets < problem.outputs)]
    if not len(classes) or not problem.bias:
        return zero
    counts = torch.bincount(classes, minlength=problem.outputs).double()
    return (counts.clamp(min=ABSENT) / len(classes)).log()


def solve(problem: Problem, train: Features, validation: Features) -> Solution:
    """Return the layer at the penalty with the best validation score, solved to convergence.

    Penalties decrease by a factor, and each solution starts from the previous one. The range grows
    at an edge until the best penalty is inside, or until the training loss no longer changes there:
    the layer is then constant at the upper end, and practically unpenalised at the lower end. For
    equal scores, the lower validation loss is better.
    """
    scale = Scale.of(train.features, problem.bias)
    rough = torch.float32 if train.features.numel() > LARGE else torch.float64
    objective = Objective(problem, scale(train.features, rough), train.targets)
    judge = Judge(problem, scale(validation.features, rough), validation.targets)
    base = constant(problem, train.targets, train.features.shape[:-1])
    path = Path(objective, judge, base)
    chosen, edge = path.best()
    if rough != torch.float64:
        del objective.rows, objective.features
        objective = Objective(problem, scale(train.features, torch.float64), train.targets)
    end = minimise(objective, chosen.penalty, chosen, *FINE)
    weight = end.weight.T / scale.deviation
    penalties = [point.penalty for point, _ in path.tried]
    return Solution(
        weight,
        end.bias - weight @ scale.mean,
        end.loss,
        {
            "penalty": end.penalty,
            "penalties": [min(penalties), max(penalties)],
            "edge": edge,
            "settled": edge is None or OPEN not in edge,
            "features": weight.shape[1],
            "samples": len(train.features),
            "iterations": end.iterations + sum(point.iterations for point, _ in path.tried),
            "gradient_norm": end.gradient,
            "converged": end.converged,
        },
    )


@dataclass(frozen=True)
class Judge:
    """Evaluation of points on the validation samples, with standardised features."""

    problem: Problem
    features: Tensor
    targets: Tensor

    def __call__(self, point: Point) -> tuple[float, float]:
        """Return the score and, for ties, the negative loss; for both, greater is better."""
        dtype = self.features.dtype
        weight, bias = point.weight.to(dtype), point.bias.to(dtype)
        outputs = self.problem.outputs_of(self.features, weight, bias)
        targets = in_precision(self.targets, dtype)
        score = float(self.problem.metric(outputs, targets))
        found = (score, -self.problem.loss(outputs, targets).item())
        return found if all(map(math.isfinite, found)) else (-math.inf, -math.inf)


class Path:
    """The solutions from a large penalty to small ones.

    Args:
        objective: The objective to minimise.
        judge: Evaluates a point.
        base: The best constant output, from which the path starts.
    """

    def __init__(self, objective: Objective, judge: Judge, base: Point) -> None:
        self.objective, self.judge = objective, judge
        self.unit = abs(base.loss) or 1.0
        width = objective.rows.shape[1]
        weight = base.weight.new_zeros(width, objective.problem.outputs)
        self.start = Point(weight, base.bias, 10 * self._curvature(weight, base.bias), base.loss)
        self.tried: list[tuple[Point, tuple[float, float]]] = []

    def _curvature(self, weight: Tensor, bias: Tensor) -> float:
        return self.objective.curvature(weight, bias).mean().item()

    def best(self) -> tuple[Point, str | None]:
        """Return the best point, and a text if it is at an end of the range, otherwise None."""
        penalty, last = self.start.penalty, self.start
        while len(self.tried) < MOST and not self._settled():
            last = self._solved(penalty, last)
            self.tried.append((last, self.judge(last)))
            penalty /= FACTOR
        while self._place() == 0 and len(self.tried) < MOST and not self._is_constant():
            first = self.tried[0][0]
            point = self._solved(first.penalty * FACTOR, first)
            self.tried.insert(0, (point, self.judge(point)))
        return self.tried[self._place()][0], self._edge()

    def _solved(self, penalty: float, start: Point) -> Point:
        return minimise(self.objective, penalty, start, *ROUGH)

    def _place(self) -> int:
        """Return the index of the best point; of equal ones, that with the highest penalty."""
        return max(range(len(self.tried)), key=lambda i: (self.tried[i][1], -i))

    def _settled(self) -> bool:
        if len(self.tried) < LEAST:
            return False
        return self._place() < len(self.tried) - INSIDE or self._unpenalised()

    def _unpenalised(self) -> bool:
        """Whether the last penalty changed nothing: the layer is practically unpenalised."""
        (before, _), (last, _) = self.tried[-2:]
        return abs(before.loss - last.loss) <= UNCHANGED * self.unit

    def _is_constant(self) -> bool:
        """Whether the first penalty reduces the weights to zero."""
        return abs(self.tried[0][0].loss - self.start.loss) <= UNCHANGED * self.unit

    def _edge(self) -> str | None:
        place = self._place()
        if place == 0:
            how = "where outputs are constant" * self._is_constant()
            return f"the highest penalty, {how or f'and a higher one {OPEN}'}"
        if place == len(self.tried) - 1 or (
            place >= len(self.tried) - INSIDE and self._unpenalised()
        ):
            how = "where a lower one no longer changes the loss" * self._unpenalised()
            return f"the lowest penalty, {how or f'and a lower one {OPEN}'}"
        return None


def minimise(
    objective: Objective, penalty: float, start: Point, most: int, tolerance: float
) -> Point:
    """Return the minimum of the objective at this penalty.

    Args:
        objective: The objective to minimise.
        penalty: Coefficient of half the squared weights.
        start: Initial point.
        most: Maximum number of iterations.
        tolerance: Fraction of the gradient at zero weights below which the gradient must fall, in
            the basis in which the Hessian is close to the identity.
    """
    from scipy.optimize import minimize

    inner = Coordinates(objective, penalty, start)
    zero, bias = torch.zeros_like(start.weight), start.bias
    loss, _, *gradients = objective.at(zero, bias, penalty)
    # There may be almost nothing to gain: a squared gradient here has the size of a loss.
    least = SMALL * (abs(loss) or 1.0) ** 0.5
    goal = tolerance * max(np.abs(inner.gradient(*gradients)).max(initial=0.0), least)
    goal = max(goal, UNSEEN * (abs(loss) or 1.0) ** 0.5)

    def value(point: np.ndarray) -> tuple[float, np.ndarray]:
        _, total, *slopes = objective.at(*inner.outside(point), penalty)
        return total, inner.gradient(*slopes)

    options = {"maxiter": most, "maxfun": 2 * most, "maxcor": 20, "gtol": goal}
    options["ftol"] = FLAT if objective.rows.numel() > LARGE else 0.0
    found = minimize(
        value, inner.inside(start.weight, bias), jac=True, method="L-BFGS-B", options=options
    )
    weight, bias = inner.outside(found.x)
    loss, _, of_weight, of_bias = objective.at(weight, bias, penalty)
    norm = torch.cat([of_weight.flatten(), of_bias]).norm().item()
    reached = np.abs(inner.gradient(of_weight, of_bias)).max(initial=0.0)
    done = bool(reached <= 1.01 * goal or found.success)
    return Point(weight, bias, penalty, loss, norm, int(found.nit), done)


class Coordinates:
    """The basis in which the objective's Hessian is close to the identity.

    Args:
        objective: The objective to minimise.
        penalty: Coefficient of half the squared weights.
        start: Point at which the curvature is computed.
    """

    def __init__(self, objective: Objective, penalty: float, start: Point) -> None:
        along, curvature, self.axes = objective.bends(start.weight, start.bias)
        self.scale = (along + penalty).rsqrt().nan_to_num(posinf=0.0)  # (d, outputs)
        self.of_bias = curvature.rsqrt() * objective.problem.bias  # (outputs,)
        self.bias = objective.problem.bias
        self.basis = None if objective.basis is None else objective.basis.to(start.weight)

    def outside(self, point: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the weight and the bias for a point in this basis."""
        both = torch.from_numpy(point).to(self.scale)
        size = self.scale.numel()
        weight = both[:size].view_as(self.scale) * self.scale
        bias = both[size:] * self.of_bias
        if self.axes is not None:
            weight, bias = self._mixed(self.axes, weight, bias)
        return (weight if self.basis is None else self.basis @ weight), bias

    def inside(self, weight: Tensor, bias: Tensor) -> np.ndarray:
        """Return the point in this basis for a weight and a bias."""
        weight, bias = self._turned(weight, bias)
        scale = self.scale.masked_fill(self.scale == 0, math.inf)
        own = bias / self.of_bias if self.bias else bias
        return torch.cat([(weight / scale).flatten(), own]).cpu().numpy()

    def gradient(self, of_weight: Tensor, of_bias: Tensor) -> np.ndarray:
        """Return the gradient in this basis from the gradients in weight and bias."""
        turned, bias = self._turned(of_weight, of_bias)
        both = torch.cat([(turned * self.scale).flatten(), bias * self.of_bias])
        return both.cpu().numpy()

    def _turned(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return a weight ``(d, outputs)`` and a bias along the axes."""
        turned = weight if self.basis is None else self.basis.T @ weight
        return (turned, bias) if self.axes is None else self._mixed(self.axes.mT, turned, bias)

    def _mixed(self, axes: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return each direction of a weight, and the bias, multiplied by the axes' matrices."""
        both = (axes @ torch.cat([weight, bias[None]])[..., None])[..., 0]
        return both[:-1], both[-1]
