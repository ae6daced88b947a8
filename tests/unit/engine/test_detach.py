"""Signals are made one at a time."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from tests import internals
from torch import nn

import beyondprop as bp
from beyondprop.projections import Dense


@pytest.mark.parametrize(("keep", "expected"), [(False, 1), (True, 6)])
def test_no_two_signals_are_alive_at_once(keep, expected, monkeypatch):
    """The reason for one node a tap: at 64 blocks, all signals at once cost more than backprop.

    The second case keeps the signals on purpose, to show that the count can see them.
    """
    monkeypatch.setattr(internals.SETTINGS, "node_above", 0)
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", 0)
    alive, most, kept = set(), 0, []

    def project(self, x, out_features, stream):
        nonlocal most
        signal = x @ self.matrix(x.shape[-1], out_features, stream, x)
        alive.add(stream)
        most = max(most, len(alive))
        weakref.finalize(signal, alive.discard, stream)
        kept.extend([signal] * keep)
        return signal

    monkeypatch.setattr(Dense, "project", project)
    layers = [part for _ in range(6) for part in (nn.Linear(8, 8), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(8, 4))
    bp.attach(model, bp.DirectFeedbackAlignment(Dense()))
    F.cross_entropy(model(torch.randn(5, 8)), torch.arange(5) % 4).backward()
    assert most == expected
