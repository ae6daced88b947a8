import pytest

from benchmarks.common import networks
from benchmarks.memory import rules
from beyondprop.measure import PeakMemory

MB = 10**6


def test_memory_takes_medians_relative_to_plain() -> None:
    net = networks.memory_networks()[0]
    plain = [PeakMemory(10 * MB, size * MB, "") for size in (100, 90, 130)]
    found = [PeakMemory(5 * MB, size * MB, "m") for size in (60, 50, 40)]
    row = rules.row(net, "dfa", found, plain)
    assert row["resident_bytes"] == 50 * MB
    assert row["resident_ratio"] == 0.5
    assert row["resident_spread"] == pytest.approx(0.4)
    assert row["tensor_ratio"] == 0.5
    assert len(row["repeats"]) == 3
    text = rules.table([row]).markdown()
    assert "| mlp-4x1024 | dfa | 50.0 | 0.500 | 40.0% | 5.0 | 0.500 |" in text


def test_memory_where_the_system_does_not_say() -> None:
    found = [PeakMemory(10 * MB, None, "")]
    row = rules.row(networks.memory_networks()[0], "dfa", found, found)
    assert row["resident_ratio"] is None
    text = rules.table([row]).markdown()
    assert "| mlp-4x1024 | dfa | – | – | – | 10.0 | 1.000 |" in text
