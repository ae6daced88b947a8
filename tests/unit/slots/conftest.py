"""Banks and packed files that several modules of tests read."""

import pytest

from beyondprop import slots
from tests.unit.slots.packable import CASES, inputs, outputs, packed_small, trained
from tests.unit.slots.several_tasks import converted, data, teach


@pytest.fixture(scope="module")
def taught():
    """A bank of three tasks, and the outputs of each when it was kept."""
    bank = slots.bank(converted())
    kept = {}
    for task in range(3):
        assert teach(bank, task) > 0.95
        kept[str(task)] = outputs(bank.machine.model, data(task)[0])
    return bank, kept


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A folder with every case packed, and the outputs of the packed models."""
    folder, wanted = tmp_path_factory.mktemp("packed"), {}
    for case, (net, kind, options) in CASES.items():
        model = trained(net, kind, **options)
        slots.pack(model, folder / f"{case}.safetensors")
        wanted[case] = outputs(model, inputs(net))
    return folder, wanted


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a small packed network, its outputs, and a folder to write variants to."""
    folder = tmp_path_factory.mktemp("good")
    wanted = packed_small(folder / "m", biases=True)
    return (folder / "m").read_bytes(), wanted, folder
