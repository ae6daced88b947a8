"""The curvature of the loss at the end of training: eigenvalues and trace of its Hessian."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from beyondprop.audit.minima.weight_loss import WeightLoss
from beyondprop.errors import UserError

DENSE = 64
"""Maximum number of weights for which the Hessian is computed explicitly."""

Product = Callable[[Tensor], Tensor]
"""A symmetric matrix times a vector, (n,) to (n,)."""


@dataclass(frozen=True)
class Estimate:
    """A mean of random draws.

    Attributes:
        value: The mean.
        error: Its standard error; 0 for a single draw.
        draws: Number of draws.
    """

    value: float
    error: float
    draws: int


@dataclass(frozen=True)
class Spectrum:
    """The extreme eigenvalues of a symmetric matrix.

    Attributes:
        largest: The largest eigenvalues, in descending order.
        smallest: The smallest eigenvalue; negative if the loss has negative curvature in some
            direction.
        products: Number of matrix-vector products that were computed.
    """

    largest: tuple[float, ...]
    smallest: float
    products: int


def spectrum(
    product: Product, size: int, count: int = 5, tolerance: float = 1e-3, seed: int = 0
) -> Spectrum:
    """Return the largest eigenvalues of a symmetric matrix, and the smallest one.

    Uses the implicitly restarted Lanczos method (ARPACK), which requires only products with
    vectors. The smallest eigenvalue is computed from the matrix minus its largest eigenvalue times
    the identity: near zero, where nearly all eigenvalues of a network's Hessian lie, an error
    relative to the eigenvalue itself would never become small.

    Args:
        product: The matrix times a vector.
        size: n.
        count: Number of largest eigenvalues, at most n; for a large matrix at most n - 1.
        tolerance: Tolerance of the residual, relative to the largest eigenvalue for the smallest
            one, and to the eigenvalue itself for the others. The error of an eigenvalue is at most
            this, and mostly much smaller.
        seed: Seed of the first vector.

    Raises:
        UserError: The products are not finite, or the method does not converge.
    """
    if size <= DENSE:
        return _dense(product, size, count)
    counted, count = _Counted(product, size), min(count, size - 1)
    start = np.random.default_rng(seed).standard_normal(size)
    if not counted(start).any():  # for example if all ReLU units are dead
        return Spectrum((0.0,) * count, 0.0, counted.products)
    largest = _ends(counted, count, tolerance, start)
    shift = float(largest[0])
    below = _ends(lambda v: shift * v - counted(v), 1, tolerance, start)
    found = tuple(float(each) for each in largest)
    return Spectrum(found, shift - float(below[0]), counted.products)


def trace(product: Product, size: int, draws: int = 20, seed: int = 0) -> Estimate:
    """Return an estimate of a matrix's trace: the mean of `quadratics` (Hutchinson 1989).

    The variance of one draw is twice the sum of the squared off-diagonal entries.
    """
    return mean(list(quadratics(product, size, draws, seed)))


def quadratics(product: Product, size: int, draws: int, seed: int = 0) -> Iterator[float]:
    """Yield vᵀHv for vectors v of random signs (Rademacher).

    Args:
        product: The matrix H times a vector.
        size: n.
        draws: Number of vectors.
        seed: Seed of the signs.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        signs = torch.randint(2, (size,), generator=generator).double() * 2 - 1  # (n,)
        yield float(signs @ product(signs).double().cpu())


def mean(found: list[float]) -> Estimate:
    """Return the mean of draws with its standard error."""
    values = torch.tensor(found, dtype=torch.float64)
    error = values.std().item() / math.sqrt(len(found)) if len(found) > 1 else 0.0
    return Estimate(values.mean().item(), error, len(found))


@dataclass(frozen=True)
class Slope:
    """Whether training ended at a stationary point, tested by one step along the exact gradient.

    Attributes:
        norm: Norm of the gradient.
        curvature: gᵀHg / gᵀg, along the gradient g.
        step: The length of the step, as a multiple of the gradient: the inverse of the curvature
            along it; 0 if the curvature is not positive and no step is taken.
        before: The loss at the end of training.
        after: The loss after the step.
    """

    norm: float
    curvature: float
    step: float
    before: float
    after: float

    @property
    def gain(self) -> float | None:
        """The relative decrease of the loss by the step, negative if the loss rises; None if the
        gradient is nonzero and no step is taken.
        """
        if self.norm and not self.step:
            return None
        return (self.before - self.after) / self.before if self.before else 0.0


def slope(loss: WeightLoss, bent: WeightLoss | None = None) -> Slope:
    """Return how far the loss is from a stationary point.

    The norm of a gradient alone says little, as it depends on the scale of the weights. Therefore
    the loss is measured again after one step against the gradient, with the length that the
    curvature along it suggests: at a stationary point this step has almost no effect.

    Args:
        loss: The loss whose gradient is used.
        bent: The loss whose curvature is used, for example on fewer samples; by default the same.
    """
    gradient = loss.gradient()  # (n,)
    squared = float(gradient.double().square().sum())
    product = (bent or loss).product(gradient)  # (n,)
    curvature = float(gradient.double() @ product.double()) / squared if squared else 0.0
    step = 1 / curvature if curvature > 0 else 0.0
    moved = loss.shaped(gradient)
    after = {name: each - step * moved[name] for name, each in loss.weights.items()}
    before = loss.value()
    return Slope(math.sqrt(squared), curvature, step, before, loss.value(after) if step else before)


class _Counted:
    """A matrix for scipy that counts its products with vectors."""

    def __init__(self, product: Product, size: int) -> None:
        self.product, self.size, self.products = product, size, 0

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        self.products += 1
        found = self.product(torch.from_numpy(np.ravel(vector)))
        if not bool(found.isfinite().all()):
            raise UserError("the second derivatives of the loss are not finite")
        return found.double().cpu().numpy()


def _ends(
    product: Callable[[np.ndarray], np.ndarray], count: int, tolerance: float, start: np.ndarray
) -> np.ndarray:
    """Return the largest eigenvalues in descending order."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    size = len(start)
    matrix = LinearOperator((size, size), matvec=product, dtype=np.float64)
    try:
        found = eigsh(matrix, count, which="LA", v0=start, tol=tolerance, return_eigenvectors=False)
    except ArpackError as error:
        raise UserError(f"the eigenvalues of the Hessian can't be found: {error}") from error
    ends: np.ndarray = np.sort(found)[::-1]
    return ends


def _dense(product: Product, size: int, count: int) -> Spectrum:
    """Return the spectrum of a small matrix that is computed explicitly."""
    rows = (
        torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)]).double().cpu()
    )  # (n, n)
    if not bool(rows.isfinite().all()):
        raise UserError("the second derivatives of the loss are not finite")
    found = torch.linalg.eigvalsh((rows + rows.T) / 2).tolist()  # rising
    return Spectrum(tuple(found[::-1][:count]), found[0], size)
