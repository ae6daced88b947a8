"""Modules called with other tensors: shared ones have their own back afterwards."""

import torch
from torch import nn

from beyondprop._torch.functional import call_with


def test_a_module_with_two_names_has_its_own_tensors_back():
    twice = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model = nn.Sequential(twice, nn.Tanh(), twice)
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    x = torch.randn(5, 3)
    expected = nn.Sequential(*model)
    others = {name: tensor.detach() * 0 for name, tensor in own.items()}
    found = call_with(model, others, [x])
    assert not found.any()  # all of them were zero, in both places
    now = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert all(now[name] is tensor for name, tensor in own.items())
    assert expected(x).any()


def test_a_tensor_that_two_modules_share_is_replaced_in_both():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    own = model[0].weight
    found = call_with(model, {"0.weight": 2 * torch.eye(3)}, [torch.ones(1, 3)])
    assert found.tolist() == [[4.0, 4.0, 4.0]]
    assert model[0].weight is own
    assert model[1].weight is own
