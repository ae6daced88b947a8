"""Random features as people know them from LightOn's library: transform and linear_transform."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from beyondprop._torch.eager import eager
from beyondprop.errors import UserError
from beyondprop.optics.arrays import Rows, as_given, as_tensor
from beyondprop.optics.checks import whole
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.optics.encoder import Binary
from beyondprop.optics.presets import lighton_opu
from beyondprop.optics.projection import PhotonicProjection


class OPUMap(nn.Module):
    """Optical random features, ``|R x|²`` or ``R x``, with the methods of lightonml's ``OPUMap``.

    A module without parameters: calling it is `transform`. Nothing that it returns has a gradient.
    Tensors give tensors; NumPy arrays, lists and data frames give NumPy arrays, as a step of one of
    scikit-learn's pipelines is asked to: the verbs and `clone` work as with its transformers.
    Its `state_dict` is empty: noise goes on from ``projection.clock``, which begins at shot 0.

    Args:
        n_components: How many features.
        device: The co-processor; by default LightOn's, for binary input, as theirs is.
        seed: Whole number that determines the medium and the noise.
    """

    def __init__(
        self, n_components: int, device: PhotonicProcessor | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        counted = isinstance(n_components, np.integer)  # as searches over arrays give
        whole("n_components", int(n_components) if counted else n_components, 1, 2**63 - 1)
        device = replace(lighton_opu(), encoder=Binary()) if device is None else device
        self.n_components = n_components
        self.projection = PhotonicProjection(seed, device=device)
        self.n_features: int | None = None

    def fit(self, x: Any = None, y: object = None, n_features: int | None = None) -> Self:  # noqa: ARG002
        """Fix the width of the input, by an input or by its width; other widths are then refused.

        Not needed: the matrix of every width is there already.

        Args:
            x: Rows, shape ``(..., in)``.
            y: Targets, which scikit-learn gives every step; not looked at.
            n_features: The width, where there is no x.
        """
        if x is not None:
            self.n_features = None
            n_features = self._fitting(as_tensor(x)).shape[-1]
        self.n_features = n_features
        return self

    def transform(self, x: Rows) -> Rows:
        """Return ``|R x|²``, shape ``(..., n_components)``, as the camera reads it.

        In float32, or in float64 if x has that: half precision might not hold an intensity.

        The entries of R are independent circular complex Gaussians of variance 1. So for one
        feature f, ``E[f(x) f(y)] = |x|² |y|² + (x·y)²`` over R (Saade et al. 2016; Ohana et al.
        2020): means over features of products are a kernel.

        Raises:
            UserError: x holds no real numbers, a width is over the device's limits or not that of
                `fit`, a number is NaN or infinite, or the encoder cannot show x in one frame.
        """
        return as_given(self._seen(self._fitting(as_tensor(x))), x)

    @torch.no_grad()
    def linear_transform(self, x: Rows) -> Rows:
        """Return ``R x`` with real R, shape ``(..., n_components)``, which keeps norms on average.

        As lightonml does with its rescaling "norm": R's entries have variance ``1 / n_components``.

        Raises:
            UserError: As `transform`.
        """
        fitting = self._fitting(as_tensor(x))
        exact = fitting if fitting.is_floating_point() else fitting.float()
        return as_given(self.projection.project(exact, self.n_components, 0), x)

    def fit_transform(self, x: Rows, y: object = None) -> Rows:  # noqa: ARG002
        """Return `transform` of x after `fit`; y is not looked at."""
        return self.fit(x).transform(x)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Return the arguments that make a map like this one, as scikit-learn's `clone` asks."""
        optics = self.projection
        return {"n_components": self.n_components, "device": optics.device, "seed": optics.seed}

    def set_params(self, **params: Any) -> Self:
        """Change arguments, as scikit-learn's searches do; the clock begins again at shot 0.

        Raises:
            UserError: There is no such argument, or it cannot be that.
        """
        known = self.get_params()
        if unknown := [name for name in params if name not in known]:
            raise UserError(f"OPUMap has no {unknown[0]!r}: it has {', '.join(known)}")
        made = OPUMap(**known | params)
        self.n_components, self.projection = made.n_components, made.projection
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return `transform` of x."""
        return self.transform(x)

    def extra_repr(self) -> str:
        """Return what the map is made of, for print."""
        return f"n_components={self.n_components}, seed={self.projection.seed}"

    def _fitting(self, x: Tensor) -> Tensor:
        if x.is_complex() or not x.dim():
            raise UserError(
                f"a map takes rows of real numbers, not a tensor of shape {tuple(x.shape)} and "
                f"{x.dtype}"
            )
        if self.n_features not in (None, x.shape[-1]):
            raise UserError(
                f"this map was fitted to {self.n_features} features, not {x.shape[-1]}: call fit "
                "again, or make a second map"
            )
        return x

    @eager
    @torch.no_grad()
    def _seen(self, x: Tensor) -> Tensor:
        optics = self.projection
        optics.device.check(x, self.n_components)
        rows = optics.rows(x)
        medium = optics.medium(rows, self.n_components, 0)
        noise = optics.noise(rows, 0)
        with torch.autocast(x.device.type, enabled=False):
            found = optics.device.intensities(rows, medium, optics.clock.shots, noise)
        optics.clock.shots += len(rows)
        return (found * (self.n_components / 2)).view(*x.shape[:-1], self.n_components)
