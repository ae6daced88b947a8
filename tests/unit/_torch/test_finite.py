"""What is kept from pass to pass stays finite."""

import pytest
import torch

from beyondprop._torch.finite import finite_or


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_keeps_what_was_there(bad):
    before, new = torch.randn(3, 4), torch.randn(3, 4)
    assert finite_or(new, before).equal(new)
    new[1, 2] = bad
    assert finite_or(new, before).equal(before)
