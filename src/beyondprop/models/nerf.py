"""A neural radiance field: densities and colours of points, rendered along rays.

Mildenhall, Srinivasan, Tancik, Barron, Ramamoorthi and Ng, "NeRF: Representing scenes as neural
radiance fields for view synthesis", ECCV 2020 (arXiv:2003.08934). Three things differ:

- The paper trains two networks, one on coarse samples and one on all, with the sum of both losses.
  Here one network does both. The coarse samples only determine the positions of the fine ones; that
  pass runs without gradients and needs no colours, so that a step runs the taught blocks once.
- The density is softplus(x − 1), not ReLU (Barron et al., "Mip-NeRF", 2021): a ReLU that is zero
  everywhere never learns again.
- The last sample's interval ends at the end of the ray; the released code makes it infinite.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError

POSITIONS, DIRECTIONS = 10, 4
"""Number of frequencies in the encoding of positions and directions."""

BLOCKS = ("trunk.*", ("feature", "colour"), ("density", "rgb", "join"))
"""The blocks of the network: each layer of the trunk, the layers of colour, the output."""

OUTPUT = "join"
"""The module whose output holds the density and the colour of each point."""


class RadianceField(nn.Module):
    """A network from points and directions to densities and colours, and its rendering along rays.

    In training mode samples are drawn by PyTorch's global generator, otherwise they are the
    midpoints of the intervals from which they would be drawn.

    Args:
        near: Distance along a ray at which the scene begins.
        far: Distance at which it ends.
        depth: Number of layers of the trunk. The paper has 8 for rendered scenes and 4 for photos.
        width: Width of a layer; the last layer of colour has half. The paper has 256.
        skip: Index, from 0, of the layer whose output is concatenated with the encoded position;
            None for no such layer. A shorter trunk has none either.
        coarse: Number of evenly spread samples per ray.
        fine: Number of samples per ray near the surface that the coarse samples find.

    Raises:
        UserError: A number is out of range.
    """

    def __init__(
        self,
        near: float,
        far: float,
        depth: int = 4,
        width: int = 128,
        skip: int | None = 4,
        coarse: int = 32,
        fine: int = 32,
    ) -> None:
        super().__init__()
        if not 0 <= near < far:
            raise UserError(f"near and far must satisfy 0 <= near < far, not {near} and {far}")
        if min(depth, coarse) < 1 or width < 2 or fine < 0:
            raise UserError(
                "a radiance field needs at least depth 1, width 2 and one coarse sample, not "
                f"depth {depth}, width {width}, coarse {coarse}, fine {fine}"
            )
        self.near, self.far, self.skip = near, far, skip
        self.coarse, self.fine = coarse, fine
        position, direction = 3 * (1 + 2 * POSITIONS), 3 * (1 + 2 * DIRECTIONS)
        joined = skip is not None and skip < depth  # whether a layer's input has the position too
        inputs = [position, *[width] * depth]
        if joined:
            inputs[skip + 1] += position  # type: ignore[operator]
        layers = [nn.Sequential(nn.Linear(each, width), nn.ReLU()) for each in inputs[:-1]]
        self.trunk = nn.ModuleList(layers)
        self.density = nn.Linear(inputs[-1], 1)
        self.feature = nn.Linear(inputs[-1], width)
        self.colour = nn.Sequential(nn.Linear(width + direction, width // 2), nn.ReLU())
        self.rgb = nn.Linear(width // 2, 3)
        self.join = Join()
        self.apply(begin)

    def forward(self, rays: Tensor) -> Tensor:
        """Rays (rays, 6), origins and unit directions, to colours (rays, 3) in [0, 1]."""
        origins, directions = rays.split(3, dim=1)  # (rays, 3) each
        depths = self.depths(origins, directions)  # (rays, samples)
        hidden = self.hidden(points(origins, directions, depths))  # (rays, samples, width)
        seen = encoded(directions, DIRECTIONS)[:, None].expand(*depths.shape, -1)
        colour = self.colour(torch.cat([self.feature(hidden), seen], -1))
        raw = self.join(self.density(hidden), self.rgb(colour))  # (rays, samples, 4)
        return rendered(raw.to(depths.dtype), depths, self.far)

    def hidden(self, x: Tensor) -> Tensor:
        """Return the trunk's output for points (rays, samples, 3), ``(rays, samples, width)``."""
        position = h = encoded(x, POSITIONS)
        for place, layer in enumerate(self.trunk):
            h = layer(h)
            if place == self.skip:
                h = torch.cat([position, h], -1)
        return h

    @torch.no_grad()
    def depths(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Return the distances of all samples, ascending, ``(rays, coarse + fine)``."""
        length = self.far - self.near
        coarse = self.near + length * self.spread(self.coarse, origins)
        if not self.fine:
            return coarse
        raw = self.density(self.hidden(points(origins, directions, coarse)))[..., 0]
        weights = weights_of(density_of(raw.to(coarse.dtype)), coarse, self.far)
        fine = self.near + length * inverse_transform(weights, self.spread(self.fine, origins))
        return torch.cat([coarse, fine], 1).sort(1).values

    def spread(self, count: int, like: Tensor) -> Tensor:
        """Return numbers ``(rays, count)``, one in each of ``count`` equal parts of [0, 1]."""
        shape = len(like), count
        within = like.new_full(shape, 0.5)
        if self.training:
            within = torch.rand(shape, dtype=like.dtype, device=like.device)
        return (torch.arange(count, dtype=like.dtype, device=like.device) + within) / count


class Join(nn.Module):
    """Concatenates the density and the colour of each point."""

    def forward(self, density: Tensor, rgb: Tensor) -> Tensor:
        """(..., 1) and (..., 3) to (..., 4)."""
        return torch.cat([density, rgb], -1)


def begin(module: nn.Module) -> None:
    """Initialise a linear layer as the released code does (Glorot and Bengio 2010).

    PyTorch's default has a third of that variance.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def points(origins: Tensor, directions: Tensor, depths: Tensor) -> Tensor:
    """Return the points at these distances along rays, ``(rays, samples, 3)``."""
    return origins[:, None] + depths[..., None] * directions[:, None]


def encoded(x: Tensor, frequencies: int) -> Tensor:
    """Return the positional encoding: x, and sin(2ᵏ x) and cos(2ᵏ x) for k from 0.

    The paper writes 2ᵏ π x and omits x; this function follows its code.

    Args:
        x: ``(..., d)``.
        frequencies: Number of frequencies.

    Returns:
        Shape ``(..., d (1 + 2 frequencies))``: x, all sines, all cosines.
    """
    factors = 2.0 ** torch.arange(frequencies, dtype=x.dtype, device=x.device)
    angles = (x[..., None, :] * factors[:, None]).flatten(-2)  # (..., frequencies × d)
    return torch.cat([x, angles.sin(), angles.cos()], -1)


def density_of(raw: Tensor) -> Tensor:
    """Return densities for the network's raw outputs, of the same shape."""
    return F.softplus(raw - 1)


def weights_of(density: Tensor, depths: Tensor, far: float) -> Tensor:
    """Return the weight of each sample in the colour of its ray, ``(rays, samples)``.

    Equation 3 of the paper: T_i (1 − exp(−σ_i δ_i)), T_i = exp(−Σ_{j<i} σ_j δ_j), where δ_i is the
    distance to the next sample, or from the last one to the end of the ray.

    Args:
        density: ``(rays, samples)``, not negative.
        depths: Distances of the samples, ascending, ``(rays, samples)``.
        far: Distance at which rays end.
    """
    end = depths.new_full((len(depths), 1), far)
    absorbed = density * depths.diff(dim=1, append=end)
    before = F.pad(absorbed[:, :-1].cumsum(1), (1, 0))
    return torch.exp(-before) * -torch.expm1(-absorbed)


def rendered(raw: Tensor, depths: Tensor, far: float) -> Tensor:
    """Return the colours of rays on a white background, ``(rays, 3)``.

    Args:
        raw: The network's output for each sample, density and colour, ``(rays, samples, 4)``.
        depths: Distances of the samples, ascending, ``(rays, samples)``.
        far: Distance at which rays end.
    """
    weights = weights_of(density_of(raw[..., 0]), depths, far)
    colours = (weights[..., None] * raw[..., 1:].sigmoid()).sum(1)
    return colours + (1 - weights.sum(1, keepdim=True))


def inverse_transform(weights: Tensor, u: Tensor) -> Tensor:
    """Return numbers in [0, 1] with the density of the weights, from uniform numbers.

    The density is constant in each of the equal parts of [0, 1], one part per weight. A small value
    is added to each weight, so that every part has a positive probability.

    Args:
        weights: ``(rays, parts)``, not negative.
        u: Uniform numbers in [0, 1], ``(rays, samples)``.

    Returns:
        Shape ``(rays, samples)``.
    """
    parts = weights.shape[1]
    weights = weights + 1e-5
    shares = weights / weights.sum(1, keepdim=True)
    below = F.pad(shares.cumsum(1)[:, :-1], (1, 0))  # the sum of the shares before each part
    part = torch.searchsorted(below, u.contiguous(), right=True) - 1
    within = (u - below.gather(1, part)) / shares.gather(1, part)
    return (part + within.clamp(0, 1)) / parts
