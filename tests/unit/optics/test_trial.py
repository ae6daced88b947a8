"""Trying a device at any width: as wrong as the device itself is."""

from dataclasses import replace

import pytest
import torch

from beyondprop.optics import (
    OffAxis,
    PhotonicProjection,
    ideal,
    lighton_opu,
)
from beyondprop.optics.trial import coordinates, errors


def test_it_is_as_wrong_as_the_device():
    x = torch.randn(6, 200)
    found = errors(lighton_opu(), x, 6000, seed=1)
    projection = PhotonicProjection(2)
    exact, shown = x @ projection.matrix(200, 6000, 0, x), projection.project(x, 6000, 0)
    assert found.whole == pytest.approx(float((shown - exact).norm() / exact.norm()), rel=0.03)
    assert found.cosine == pytest.approx(
        float(torch.cosine_similarity(shown.flatten(), exact.flatten(), 0)), rel=0.02
    )
    assert found.whole**2 == pytest.approx(found.encoding**2 + found.light**2, rel=0.15)
    assert found == errors(lighton_opu(), x, 6000, seed=1)
    assert found != errors(lighton_opu(), x, 6000, seed=2)


@pytest.mark.parametrize("device", [ideal(), replace(ideal(), retrieval=OffAxis())], ids=repr)
@pytest.mark.parametrize("width", [1, 3, 5000])
def test_without_a_fault_it_is_exact(device, width):
    found = errors(device, torch.randn(4, width, dtype=torch.float64), 50, seed=0)
    assert found.whole < 1e-6
    assert found.cosine == pytest.approx(1)


def test_coordinates_have_the_same_inner_products():
    rows = torch.randn(5, 300, dtype=torch.float64)
    rows[3] = rows[1] - rows[2]  # which depend on one another
    found = coordinates(rows)
    assert found.shape == (5, 5)
    torch.testing.assert_close(found @ found.t(), rows @ rows.t(), rtol=1e-9, atol=1e-6)
