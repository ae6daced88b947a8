"""Random features with the interface of LightOn's library: transform and linear_transform."""

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

    A module without parameters; calling it is the same as `transform`. Its results have no
    gradient. Tensors give tensors; NumPy arrays, lists and data frames give NumPy arrays, as a step
    in a scikit-learn pipeline must: its methods and `clone` work as for scikit-learn's
    transformers. Its `state_dict` is empty: noise depends on ``projection.clock``, which starts at
    shot 0.

    Args:
        n_components: The number of features.
        device: The co-processor; by default LightOn's, with binary input as in their library.
        seed: Whole number that determines the medium and the noise.
    """

    def __init__(
        self, n_components: int, device: PhotonicProcessor | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        counted = isinstance(n_components, np.integer)  # from searches over arrays
        whole("n_components", int(n_components) if counted else n_components, 1, 2**63 - 1)
        device = replace(lighton_opu(), encoder=Binary()) if device is None else device
        self.n_components = n_components
        self.projection = PhotonicProjection(seed, device=device)
        self.n_features: int | None = None

    def fit(self, x: Any = None, y: object = None, n_features: int | None = None) -> Self:  # noqa: ARG002
        """Fix the width of the input, given rows or the width; other widths then raise an error.

        Calling it is optional, as the matrix of every width is already defined.

        Args:
            x: Rows, shape ``(..., in)``.
            y: Targets, which scikit-learn passes to every step; ignored.
            n_features: The width, if x is not given.
        """
        if x is not None:
            self.n_features = None
            n_features = self._fitting(as_tensor(x)).shape[-1]
        self.n_features = n_features
        return self

    def transform(self, x: Rows) -> Rows:
        """Return the camera's reading of ``|R x|²``, shape ``(..., n_components)``.

        The result is float32, or float64 if x is: half precision might not hold an intensity.

        The entries of R are independent circular complex Gaussians of variance 1. So for one
        feature f, ``E[f(x) f(y)] = |x|² |y|² + (x·y)²`` over R (Saade et al. 2016; Ohana et al.
        2020): the mean of products over features is a kernel.

        Raises:
            UserError: x does not hold real numbers, a width is over the device's limits or differs
                from that of `fit`, a number is NaN or infinite, or the encoder cannot show x in one
                frame.
        """
        return as_given(self._seen(self._fitting(as_tensor(x))), x)

    @torch.no_grad()
    def linear_transform(self, x: Rows) -> Rows:
        """Return ``R x``, shape ``(..., n_components)``, with a real R that keeps norms on average.

        As in lightonml with rescaling "norm", R's entries have variance ``1 / n_components``.

        Raises:
            UserError: As in `transform`.
        """
        fitting = self._fitting(as_tensor(x))
        exact = fitting if fitting.is_floating_point() else fitting.float()
        return as_given(self.projection.project(exact, self.n_components, 0), x)

    def fit_transform(self, x: Rows, y: object = None) -> Rows:  # noqa: ARG002
        """Return `transform` of x after `fit`; y is ignored."""
        return self.fit(x).transform(x)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Return the arguments that build the same map, as scikit-learn's `clone` requires."""
        optics = self.projection
        return {"n_components": self.n_components, "device": optics.device, "seed": optics.seed}

    def set_params(self, **params: Any) -> Self:
        """Change arguments, as scikit-learn's searches do; the clock restarts at shot 0.

        Raises:
            UserError: There is no such argument, or its value is not valid.
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
        """Return the map's settings for its representation."""
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
                "again, or build a second map"
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
