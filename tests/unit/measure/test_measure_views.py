"""Views as a network renders them."""

import base64
import io
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from beyondprop.errors import UserError, install
from beyondprop.measure import Subject, ViewsMeasure, find_all
from beyondprop.measure.views import encoded, similarities
from beyondprop.tasks import Views, psnr


class Painter(nn.Module):
    """Colours by the direction of a ray, and noise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, rays: Tensor) -> Tensor:
        noise = torch.randn(len(rays), 3) if self.training else 0
        return self.linear(rays).sigmoid() + noise


def views(count: int = 3, height: int = 12, width: int = 16) -> Views:
    generator = torch.Generator().manual_seed(0)
    rays = torch.rand(count, height * width, 6, generator=generator)
    return Views.of(list(rays), list(torch.rand(count, height, width, 3, generator=generator)))


def decoded(text: str) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(text)))))


def test_each_view_is_scored_by_itself_and_the_first_are_kept() -> None:
    model, shown = Painter(), views()
    state = torch.get_rng_state()
    found = ViewsMeasure().run(Subject(model=model, views=shown))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        made = model.eval()(shown.rays.inputs).view(3, 12, 16, 3)
    true = shown.rays.targets.view(3, 12, 16, 3)
    assert found.details["psnr"] == pytest.approx([psnr(made[i], true[i]) for i in range(3)])
    assert found.values["view_psnr"] == pytest.approx(sum(found.details["psnr"]) / 3)
    assert len(found.details["rendered"]) == len(found.details["true"]) == 2
    assert torch.equal(decoded(found.details["rendered"][1]), (made[1] * 255).round().byte())
    assert torch.equal(decoded(found.details["true"][0]), (true[0] * 255).round().byte())
    assert not list(ViewsMeasure().contradictions(Subject(views=shown), found))


def test_a_large_picture_is_kept_small() -> None:
    assert decoded(encoded(torch.full((300, 200, 3), 0.5))).shape == (100, 66, 3)


def test_similarity_is_one_for_the_same_picture() -> None:
    pytest.importorskip("torchmetrics")
    shown = torch.rand(2, 12, 16, 3)
    assert similarities(shown, shown) == pytest.approx([1, 1], abs=1e-5)
    assert max(similarities(shown, 1 - shown)) < 0.5


def test_without_torchmetrics_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
    found = ViewsMeasure().run(Subject(model=Painter(), views=views()))
    assert found.values["view_ssim"] is None
    assert install("views") in found.words
    assert found.values["view_psnr"] > 0


def test_what_cannot_be_rendered_is_told() -> None:
    model: Any = nn.Linear(6, 4)
    with pytest.raises(UserError, match=r"the model returns \(576, 4\) for 576 rays"):
        ViewsMeasure().run(Subject(model=model, views=views()))


def test_only_tasks_of_views_have_it() -> None:
    (measure,) = find_all(["views"])
    assert measure.lacking(Subject(model=Painter())) == ["views"]
