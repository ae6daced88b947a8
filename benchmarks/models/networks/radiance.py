"""A radiance field, rendered along rays (NeRF, Mildenhall et al. 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def encode(x: Tensor, frequencies: int) -> Tensor:
    """Return coordinates with their sines and cosines, ``(..., (2 frequencies + 1) · 3)``."""
    scaled = [x * 2.0**i for i in range(frequencies)]
    return torch.cat([x, *(f(s) for s in scaled for f in (torch.sin, torch.cos))], -1)


class NeRF(nn.Module):
    """A network that returns the colours of rays."""

    near, far = 2.0, 6.0  # where a ray begins and ends

    def __init__(self, width: int, depth: int, frequencies: int = 4):
        super().__init__()
        self.frequencies = frequencies
        inputs = 3 * (2 * frequencies + 1)
        self.skip = depth // 2
        widths = [inputs, *[width] * (depth - 1)]
        widths[self.skip] += inputs
        self.pts_linears = nn.ModuleList(nn.Linear(each, width) for each in widths)
        self.alpha_linear = nn.Linear(width, 1)
        self.feature_linear = nn.Linear(width, width)
        self.views_linear = nn.Linear(width + inputs, width // 2)
        self.rgb_linear = nn.Linear(width // 2, 3)

    def field(self, points: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        encoded = encode(points, self.frequencies)  # (rays · samples, inputs)
        h = encoded
        for i, linear in enumerate(self.pts_linears):
            h = F.relu(linear(torch.cat([encoded, h], -1) if i == self.skip else h))
        alpha = self.alpha_linear(h)
        h = torch.cat([self.feature_linear(h), encode(views, self.frequencies)], -1)
        return torch.sigmoid(self.rgb_linear(F.relu(self.views_linear(h)))), alpha

    def forward(self, origins: Tensor, directions: Tensor, samples: int = 8) -> Tensor:
        rays = len(origins)
        z = torch.linspace(self.near, self.far, samples).to(origins)  # (samples,)
        points = origins[:, None] + directions[:, None] * z[:, None]  # (rays, samples, 3)
        views = directions[:, None].expand_as(points)
        rgb, alpha = self.field(points.reshape(-1, 3), views.reshape(-1, 3))
        rgb, alpha = rgb.view(rays, samples, 3), alpha.view(rays, samples)
        opacity = 1 - torch.exp(-F.softplus(alpha) * (self.far - self.near) / samples)
        seen = torch.cumprod(1 - opacity + 1e-10, -1)
        seen = torch.cat([torch.ones_like(seen[:, :1]), seen[:, :-1]], -1)
        return ((seen * opacity)[..., None] * rgb).sum(1)  # (rays, 3)
