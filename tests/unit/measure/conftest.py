import pytest
import torch
from torch import Tensor, nn


def small_net() -> nn.Sequential:
    """An MLP with everything that a measure could disturb: dropout, statistics, generators."""
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(8, 7),
        nn.Tanh(),
        nn.Linear(7, 3),
    )


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(3)
    return small_net()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(20, 6, generator=generator), torch.randint(3, (20,), generator=generator)
