"""Rendered scenes: held-out views compared with the true ones."""

import base64
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.engine.untouched import device_of, untouched
from beyondprop.errors import UserError, install
from beyondprop.measure.accuracy import BATCH
from beyondprop.measure.base import (
    Column,
    Figures,
    Measure,
    MeasureTraits,
    Subject,
    given,
    model_of,
)
from beyondprop.tasks import Views, psnr

SHOWN = 2
"""Number of views whose pictures are stored."""

SIDE = 128
"""Maximum side length of a stored picture, in pixels."""

NO_SSIM = f"SSIM is not measured: it needs torchmetrics: {install('views')}."


class ViewsMeasure(Measure):
    """PSNR, SSIM and pictures of held-out views, for tasks of view synthesis.

    Known answers: the same under every rule; the PSNR of a view depends on its pixels alone.
    """

    name = "views"
    title = "Held-out views"
    about = (
        "Views from cameras that are not used in training, rendered by the network. PSNR is the"
        " peak signal-to-noise ratio in dB, −10 log10 of the mean squared error of the colours;"
        " SSIM is the structural similarity, 1 for identical pictures. Both are means over the"
        " validation views."
    )
    traits = MeasureTraits(frozenset({"views"}))
    columns = (
        Column("view_psnr", "PSNR per view", "mean over validation views", ".2f", " dB"),
        Column("view_ssim", "SSIM", "structural similarity, mean over validation views", ".3f"),
    )

    def run(self, subject: Subject) -> Figures:
        """Return the mean PSNR and SSIM, both figures of each view, and the first pictures."""
        views = given(subject.views, "whole views")
        made, true = pictures(model_of(subject), views), truth(views)
        ratios = [psnr(one, other) for one, other in zip(made, true, strict=True)]
        similar = similarities(made, true)
        shown = range(min(SHOWN, views.count))
        return Figures(
            values={
                "view_psnr": sum(ratios) / len(ratios),
                "view_ssim": sum(similar) / len(similar) if similar else None,
            },
            words="" if similar else NO_SSIM,
            details={
                "psnr": ratios,
                "ssim": similar,
                "rendered": [encoded(made[i]) for i in shown],
                "true": [encoded(true[i]) for i in shown],
            },
        )

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:
        """Every view has figures."""
        count = given(subject.views, "whole views").count
        if len(figures.details["psnr"]) != count:
            yield f"{len(figures.details['psnr'])} of {count} views have a PSNR"


def pictures(model: nn.Module, views: Views) -> Tensor:
    """Return the views as a model renders them, ``(views, height, width, 3)`` in [0, 1], on the
    CPU.

    The model runs in eval mode and without gradients, and is left unchanged.

    Raises:
        UserError: The model does not return a colour for each ray.
    """
    device = device_of(model, views.device)
    with untouched(model), torch.no_grad():
        model.eval()
        found = [model(rays.to(device)) for rays, _ in views.batches(BATCH)]
    colours = torch.cat(found).float().cpu()
    if colours.shape != (len(views), 3):
        raise UserError(
            f"views need a colour for each ray, but the model returns {tuple(colours.shape)} for "
            f"{len(views)} rays"
        )
    return colours.view(views.count, views.height, views.width, 3).clamp(0, 1)


def truth(views: Views) -> Tensor:
    """Return the true views, ``(views, height, width, 3)``, on the CPU."""
    colours = views.batch(slice(len(views)))[1]
    return colours.float().cpu().view(views.count, views.height, views.width, 3)


def similarities(made: Tensor, true: Tensor) -> list[float]:
    """Return the structural similarity of each view; an empty list without torchmetrics.

    Args:
        made: ``(views, height, width, 3)`` in [0, 1].
        true: Of the same shape.
    """
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim
    except ImportError:
        return []
    first, second = (each.permute(0, 3, 1, 2) for each in (made, true))
    found: Any = ssim(first, second, data_range=1.0, reduction="none")
    return [float(each) for each in found]


def encoded(picture: Tensor) -> str:
    """Return a picture ``(height, width, 3)`` in [0, 1] as a PNG in base64; large pictures are
    reduced by averaging pixels.
    """
    by = -(-max(picture.shape[:2]) // SIDE)
    height, width = picture.shape[0] // by, picture.shape[1] // by
    small = picture[: height * by, : width * by].view(height, by, width, by, 3).mean((1, 3))
    pixels = (small * 255).round().to(torch.uint8)
    return base64.b64encode(png(pixels)).decode()


def png(pixels: Tensor) -> bytes:
    """Return a PNG file of pixels ``(height, width, 3)`` uint8."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.numpy().tobytes() for row in pixels.contiguous())
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
