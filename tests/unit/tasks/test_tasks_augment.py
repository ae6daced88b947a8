from typing import Any

import pytest
import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks.augment import crop_and_flip


def views(image: Tensor) -> list[Tensor]:
    """All that may become of an image, slowly: 81 shifts, then the same mirrored."""
    channels, height, width = image.shape
    found = []
    for down in range(-4, 5):
        for right in range(-4, 5):
            shifted = torch.zeros_like(image)
            for y in range(height):
                for x in range(width):
                    if 0 <= y + down < height and 0 <= x + right < width:
                        shifted[:, y, x] = image[:, y + down, x + right]
            found.append(shifted)
    mirrored = [
        torch.stack([shifted[..., width - 1 - x] for x in range(width)], dim=-1)
        for shifted in found
    ]
    assert channels == len(image)
    return found + mirrored


def seen(n: int, size: tuple[int, int] = (6, 5)) -> Tensor:
    """For n copies of one image, which of its views each became."""
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    augmented = crop_and_flip(image.expand(n, -1, -1, -1))
    same = (augmented[:, None] == torch.stack(views(image))).flatten(2).all(2)
    assert (same.sum(1) == 1).all()  # every image is one of its views
    return same.int().argmax(1)


def test_every_image_is_one_of_its_shifts_mirrored_or_not_each_as_often() -> None:
    torch.manual_seed(0)
    counts = seen(8100).bincount(minlength=162)
    assert counts.min() > 15  # of 50, with a deviation of 7
    assert counts.max() < 90
    assert abs(counts[81:].sum() - 4050) < 4.5 * 45  # 45 is the deviation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_stay_and_the_input_is_left_alone(dtype: torch.dtype) -> None:
    images = torch.randn(7, 3, 32, 32).to(dtype)
    before = images.clone()
    augmented = crop_and_flip(images)
    assert augmented.shape == images.shape
    assert augmented.dtype == dtype
    assert torch.equal(images, before)
    assert not torch.equal(augmented, images)


def test_images_of_a_batch_are_changed_each_in_its_own_way() -> None:
    torch.manual_seed(0)
    assert len(seen(20).unique()) > 10


def test_it_draws_from_the_global_generator() -> None:
    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return crop_and_flip(torch.arange(5 * 3 * 64.0).reshape(5, 3, 8, 8))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_device_draws_what_the_cpu_draws() -> None:
    images = torch.randn(9, 3, 32, 32)
    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(3)
        augmented = crop_and_flip(images.to(device))
        assert augmented.device.type == device
        found.append(augmented.cpu())
    assert torch.equal(*found)


@pytest.mark.parametrize("shape", [(3, 32, 32), (4, 64), (2, 3, 4, 5, 6)])
def test_what_is_no_batch_of_images_is_refused(shape: tuple[int, ...]) -> None:
    images: Any = torch.zeros(shape)
    with pytest.raises(UserError, match="images must be"):
        crop_and_flip(images)
