import pytest
import torch

from beyondprop.audit import explanations as ex
from beyondprop.errors import UserError


def test_patches_are_numbered_row_by_row_over_all_channels():
    found = ex.patches((2, 4, 6), 2, 3)
    assert found.shape == (2, 4, 6)
    assert torch.equal(found[0], found[1])
    assert found[0].tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2


def test_patches_that_do_not_divide_the_image_differ_by_a_pixel():
    sizes = ex.patches((1, 14, 15), 4, 4).flatten().bincount()
    assert len(sizes) == 16
    assert set(sizes.tolist()) <= {3 * 3, 3 * 4, 4 * 3, 4 * 4}
    with pytest.raises(UserError, match="no 4 x 4 patches"):
        ex.patches((1, 3, 8), 4, 4)


def test_one_hot_columns_are_one_variable():
    numbers = torch.randn(50, 2)
    colour = torch.eye(3)[torch.arange(50) % 3]
    sex = torch.eye(2)[torch.arange(50) // 7 % 2]
    flag = (torch.arange(50) % 5 == 0).float()[:, None]
    table = torch.cat([numbers, colour, sex, flag], 1)
    assert ex.variables(table).tolist() == [0, 1, 2, 2, 2, 3, 3, 4]


def test_the_least_important_regions_become_one():
    regions = torch.tensor([0, 0, 1, 2, 3, 4])
    found, made_of = ex.joined(regions, torch.tensor([1.0, 5, 2, 4, 3]), most=3)
    assert made_of == [[1], [3], [0, 2, 4]]
    assert found.tolist() == [2, 2, 0, 2, 1, 2]
    same, each = ex.joined(regions, torch.ones(5), most=5)
    assert same is regions
    assert each == [[0], [1], [2], [3], [4]]


def test_what_is_not_kept_is_hidden():
    x, regions = torch.tensor([[1.0, 2, 3]]), torch.tensor([0, 1, 1])
    kept = torch.tensor([[True, False], [False, True]])
    assert ex.shown(x, torch.tensor([7.0, 8, 9]), regions, kept).tolist() == [[1, 8, 9], [7, 2, 3]]
    assert ex.summed(x, regions).tolist() == [[1, 5]]
