"""Optical random features as layers: one blocks gradients, the other uses a model for them."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd import Function

from beyondprop._torch.eager import eager
from beyondprop.errors import UserError
from beyondprop.optics.checks import whole
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.optics.encoder import Binary
from beyondprop.optics.opu_map import OPUMap
from beyondprop.optics.presets import lighton_opu


class Features(nn.Module, ABC):
    """Random features by light; see `OpticalFeatures` and `CalibratedFeatures`.

    Arguments and errors are those of `OpticalFeatures`.
    """

    seed: Tensor
    shots: Tensor

    def __init__(
        self,
        n_components: int,
        thresholds: Sequence[float] = (0.0,),
        device: PhotonicProcessor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        whole("a seed", seed, 0, 2**63 - 1)
        self.thresholds = tuple(float(t) for t in thresholds)
        if not self.thresholds or not torch.tensor(self.thresholds).isfinite().all():
            raise UserError(f"thresholds must be one or more finite numbers, not {thresholds}")
        device = replace(lighton_opu() if device is None else device, encoder=Binary())
        self.light = OPUMap(n_components, device, seed)
        # Buffers, so that a checkpoint restores the medium and a measure leaves no trace.
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("shots", torch.tensor(0))

    @eager
    def mirrors(self, x: Tensor) -> Tensor:
        """Return which mirrors are on, 0 or 1, shape ``(..., thresholds × in)``."""
        if x.is_complex() or not x.dim() or not x.shape[-1]:
            raise UserError(
                f"optical features take rows of real numbers, not a tensor of shape "
                f"{tuple(x.shape)} and {x.dtype}"
            )
        x = x if x.is_floating_point() else x.float()
        peak = x.abs().amax(-1, keepdim=True)
        if not bool(peak.isfinite().all()):  # a comparison would hide them
            raise UserError(
                "the input of optical features contains NaN or infinite numbers: look for an "
                "earlier layer that diverged"
            )
        unit = x / peak.where(peak > 0, 1)  # so that no square is too large or too small
        size = unit.square().mean(-1, keepdim=True).sqrt()
        return torch.cat([(unit > t * size).to(x.dtype) for t in self.thresholds], dim=-1)

    def get_extra_state(self) -> Tensor:
        """Return the settings of the features apart from the medium, as JSON in bytes."""
        return torch.tensor(list(self._written()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Raise unless a state was saved by a layer with the same thresholds and device.

        Raises:
            UserError: The thresholds or the device differ.
        """
        saved = bytes(state.tolist())
        if saved != self._written():
            raise UserError(
                "this state of optical features was saved with other thresholds or another "
                f"device, {saved.decode()}: build the layer with these settings"
            )

    def _written(self) -> bytes:
        made = {"thresholds": self.thresholds, "device": self.light.projection.device.settings()}
        return json.dumps(made, sort_keys=True).encode()

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the features, ``(..., n_components)``, of rows ``(..., in)``."""

    def extra_repr(self) -> str:
        """Return the layer's settings for its representation."""
        shown = ", ".join(f"{t:g}" for t in self.thresholds)
        return f"n_components={self.light.n_components}, thresholds=({shown}), seed={self.seed}"

    @eager
    @torch.no_grad()
    def _seen(self, mirrors: Tensor) -> Tensor:
        clock = self._of_seed().projection.clock
        clock.shots = int(self.shots)
        seen = self.light(mirrors)
        self.shots.fill_(clock.shots)
        on = mirrors.sum(-1, keepdim=True)
        features: Tensor = (seen / on.clamp(min=1) - 1).to(mirrors.dtype)
        return features.where(on > 0, 0)

    def _of_seed(self) -> OPUMap:
        """Return the map with the current seed, which a checkpoint may have changed."""
        optics = self.light.projection
        if optics.seed != int(self.seed):
            self.light = OPUMap(self.light.n_components, optics.device, int(self.seed))
        return self.light


@final
class OpticalFeatures(Features):
    """Random features by light, ``|R b|² / |b|² - 1`` of the binarised input ``b``.

    Maps ``(..., in)`` to ``(..., n_components)``. Mirrors are on or off, so each number has one
    mirror for each threshold, which is on if ``x > t rms(x)``, with the root mean square of its own
    row: scaling a row does not change its features. Several thresholds preserve more of a grey
    value (a thermometer code). The entries of R are independent circular complex Gaussians of
    variance 1, and ``|b|²`` is the number of mirrors that are on. So over R a feature has mean 0
    and variance 1, and the mean product of two rows' features is the kernel ``(b·c)² / (|b|²
    |c|²)``: the kernel of ``|R b|²``, ``|b|² |c|² + (b·c)²``, for rows of unit length and without
    its constant part (Saade et al. 2016; Ohana et al. 2020). Rows with all mirrors off give zeros.

    No gradient passes back through the light: train earlier layers with a rule that ends the graph
    there, such as `DirectFeedbackAlignment`. There are no parameters. The `state_dict` holds the
    seed of the medium and the number of shots, which determines noise and drift; a state with other
    thresholds or another device raises an error. A pass that runs twice, for example under
    activation checkpointing, takes its shots twice, with different noise.

    Args:
        n_components: The number of features.
        thresholds: Thresholds in units of a row's root mean square; 0 gives the sign.
        device: The co-processor, by default LightOn's. Its encoder is not used, as the mirrors are
            already binary.
        seed: Whole number from 0 to 2^63 - 1 that determines the medium and the noise.

    Raises:
        UserError: No threshold is given, or one is not finite; in the forward pass if a number is
            NaN or infinite, or a width is over the device's limits; in the backward pass always.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        seen = self._seen(self.mirrors(x.detach()))  # (..., n_components)
        return _Opaque.apply(x, seen) if x.requires_grad else seen  # type: ignore[no-untyped-call]


@final
class CalibratedFeatures(Features):
    """`OpticalFeatures` with a backward pass, for which the device's matrix must be known.

    The forward pass is the same, through the same light. The backward pass uses the gradient of a
    model of the device: the calibrated matrix, ``|R b|² / |b|² - 1``, without noise and drift, and
    a slope of 1 for each mirror instead of the step (straight-through: Bengio, Léonard and
    Courville 2013). So backpropagation can train earlier layers, as a control, and an attacker who
    has the matrix can attack in this way (backward pass differentiable approximation: Athalye,
    Carlini and Wagner 2018). A device's owner need not know the matrix; measuring it takes at least
    one shot for each entry of the input, and phase retrieval.

    Arguments and errors are those of `OpticalFeatures`, except in the backward pass.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        mirrors = self.mirrors(x.detach())  # (..., thresholds × in)
        seen = self._seen(mirrors)
        if not (x.requires_grad and torch.is_grad_enabled()):
            return seen
        wide = torch.cat([x] * len(self.thresholds), dim=-1)  # (..., thresholds × in)
        return _Instead.apply(self.modelled(_Instead.apply(wide, mirrors)), seen)  # type: ignore[no-untyped-call, no-any-return]

    def modelled(self, mirrors: Tensor) -> Tensor:
        """Return the features of an ideal device, ``(..., n_components)``, by real matrices.

        Args:
            mirrors: Mirrors, 0 or 1, ``(..., in)``, which may require gradients.
        """
        real, imaginary = self._calibrated(mirrors.detach())
        with torch.autocast(mirrors.device.type, enabled=False):
            power = (mirrors @ real).square() + (mirrors @ imaginary).square()
        on = mirrors.square().sum(-1, keepdim=True)
        return (power / on.clamp(min=1) - 1).where(on > 0, 0)

    @eager
    @torch.no_grad()
    def _calibrated(self, mirrors: Tensor) -> tuple[Tensor, Tensor]:
        light, optics = self._of_seed(), self.light.projection
        medium = optics.medium(optics.rows(mirrors), light.n_components, 0)
        matrix = medium.matrix() * (light.n_components / 2) ** 0.5
        return matrix.real.to(mirrors.dtype), matrix.imag.to(mirrors.dtype)


class _Opaque(Function):
    """Returns features unchanged, and raises in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seen: Tensor) -> Tensor:  # noqa: ARG004
        return seen.view_as(seen)

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> Any:  # noqa: ARG004
        raise UserError(
            "no gradient passes back through the light of OpticalFeatures: train the layers before "
            "it with a rule that ends the graph there, such as DirectFeedbackAlignment, or use "
            "CalibratedFeatures, whose backward pass is a model of the light"
        )


class _Instead(Function):
    """Replaces a tensor's numbers, but passes the gradient to the original tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor) -> Tensor:  # noqa: ARG004
        return other.view_as(other)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ARG004
        return gradients[0], None
