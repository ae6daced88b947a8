"""The guide that picks: counted work times measured rates."""

import copy
import math
import weakref
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import beyondprop as bp
from beyondprop import projections
from beyondprop.kernels import registry
from beyondprop.projections import (
    ALL,
    Dense,
    Hadamard,
    LowRank,
    Redrawn,
    Signs,
    Sketched,
    Sparse,
    Streamed,
)
from beyondprop.projections.cost import (
    choice,
    memory,
    rates,
    trial,
    work,
)

CPU = torch.device("cpu")
UNITS = {
    "calls": 1e-6,
    "multiply-adds": 2e-11,
    "bytes": 5e-11,
    "packed": 6e-11,
    "tiles": 4e-5,
    "stages": 6e-10,
    "far stages": 8e-10,
    "scattered": 6e-10,
    "places": 1e-9,
    "gathered": 6e-11,
    "words": 1e-10,
    "look-ups": 2e-10,
}


@pytest.fixture
def _known(monkeypatch):
    """Rates of a machine that does not change from run to run."""
    monkeypatch.setattr(choice, "rates", lambda *_: UNITS)


known = pytest.mark.usefixtures("_known")


def kept(projection):
    """The bytes of all that a projection keeps."""
    inner = [getattr(projection, "inner", None), *getattr(projection, "_factors", ())]
    found = list(getattr(projection, "_drawn", {}).values())
    tensors = [t for value in found for t in (value if isinstance(value, tuple) else (value,))]
    return sum(t.nbytes for t in tensors) + sum(kept(each) for each in inner if each is not None)


@known
@pytest.mark.parametrize(
    ("widths", "batch", "expected"),
    [
        ((10, 4096), 256, Dense),  # ten classes
        ((4096, 4096), 256, Hadamard),
        ((2**20, 2**20), 1, Hadamard),
        ((1, 1), 1, Dense),
    ],
)
def test_the_cheapest_is_chosen(widths, batch, expected):
    assert projections.choose(*widths, batch, seed=5, memory=10**10) == expected(seed=5)


@known
def test_kinds_restrict_and_can_have_settings():
    among = [partial(Dense, shared=True), partial(Hadamard, rounds=3)]
    assert projections.choose(2**20, 4096, kinds=among, seed=2) == Hadamard(seed=2, rounds=3)
    assert projections.choose(10, 40, kinds=among, seed=2) == Dense(seed=2, shared=True)
    unstructured = projections.choose(2**20, 2**20, kinds=projections.UNSTRUCTURED)
    assert unstructured == Streamed()


@known
def test_what_loses_rank_is_chosen_only_if_asked_for():
    assert projections.costs(4096, 4096, 256)[0].projection == LowRank()
    assert projections.choose(4096, 4096, 256) == Hadamard()
    assert projections.choose(4096, 4096, 256, kinds=ALL) == LowRank()


@known
def test_of_two_as_fast_the_first_is_chosen():
    assert projections.choose(10, 40, kinds=(Signs, Dense)) == Signs()
    assert projections.choose(10, 40, kinds=(Dense, Signs)) == Dense()


@known
def test_memory_is_respected():
    small = projections.costs(10, 4096, kinds=(Dense,))[0]
    assert projections.choose(10, 4096, memory=small.peak) == Dense()
    less = projections.choose(10, 4096, memory=small.peak - 1)
    assert less == Signs()  # its drawing takes less
    with pytest.raises(bp.UserError, match=r"no projection .* fits in 100 B: .* \d+ kB"):
        projections.choose(10, 4096, memory=100)


@known
def test_by_default_half_of_what_is_free_can_be_taken(monkeypatch):
    peak = projections.costs(10, 4096, kinds=(Dense,))[0].peak
    monkeypatch.setattr(choice, "free_bytes", lambda _: 2 * peak)
    assert projections.choose(10, 4096) == Dense()
    monkeypatch.setattr(choice, "free_bytes", lambda _: 2 * peak - 2)
    assert projections.choose(10, 4096) == Signs()


@known
def test_costs_are_sorted_and_complete():
    table = projections.costs(1000, 4096, 256, seed=4)
    assert {cost.projection for cost in table} == {kind(seed=4) for kind in ALL}
    assert [c.seconds for c in table] == sorted(c.seconds for c in table)
    assert all(0 < c.seconds < 10 for c in table)
    assert all(0 <= c.stored < c.peak for c in table)


@pytest.mark.parametrize(
    "projection",
    [
        Dense(),
        Signs(),
        Streamed(),
        Hadamard(),
        Hadamard(rounds=3),
        Sketched(buckets=64),
        Sketched(inner=Hadamard()),
        LowRank(rank=7),
    ],
    ids=repr,
)
@pytest.mark.parametrize("widths", [(100, 700), (1500, 30)])
def test_stored_bytes_are_what_is_kept(projection, widths):
    projection = copy.deepcopy(projection)  # without what others made it keep
    projection.project(torch.ones(2, widths[0]), widths[1], 0)
    assert work.work(projection, *widths, 2, CPU).stored == kept(projection)


def test_stored_bytes_of_a_sparse_matrix_are_as_expected():
    projection = Sparse(density=0.1)
    projection.project(torch.ones(2, 300), 500, 0)
    stored = work.work(projection, 300, 500, 2, CPU).stored
    assert kept(projection) == pytest.approx(stored, rel=5 * (0.9 / 0.1 / 300 / 500) ** 0.5)


def test_work_is_counted():
    dense = work.work(Dense(), 30, 50, 7, CPU).amounts
    assert dense["multiply-adds"] == 30 * 50 * 7
    assert dense["packed"] == 4 * 30 * 50
    assert work.work(Dense(), 30, 50, 1, CPU).amounts["bytes"] == 4 * (30 * 50 + 30 + 50)
    # 4096 = 2^12 numbers, by 2^4 at a time: three stages, twice
    assert work.work(Hadamard(), 3000, 20, 7, CPU).amounts["stages"] == 7 * 4096 * 6
    assert work.work(LowRank(rank=3), 30, 50, 7, CPU).amounts["multiply-adds"] == 7 * 3 * 80
    sketched = work.work(Sketched(inner=Dense(), buckets=64), 1000, 50, 7, CPU).amounts
    assert sketched["scattered"] == 7000
    assert sketched["multiply-adds"] == 7 * 64 * 50
    assert work.work(Sketched(inner=Dense()), 30, 50, 7, CPU).amounts == dense
    assert work.work(Sparse(density=0.5), 30, 50, 7, CPU).amounts["gathered"] == 7 * 750


def test_streamed_is_counted_as_it_is_done():
    wide = work.work(Streamed(), 6400, 8192, 2, CPU).amounts
    if registry.compiler_for(torch.empty(0)) == "numba":
        assert wide["words"] == 100 * 8192
        assert wide["look-ups"] == 2 * 800 * (8192 + 2 * 256)
    many = work.work(Streamed(), 4096, 64, 1000, CPU).amounts
    assert many["tiles"] == 1
    assert many["multiply-adds"] == 4096 * 64 * 1000
    other = work.work(Streamed(), 4100, 70, 1000, torch.device("meta")).amounts
    assert other["tiles"] == 4


def test_on_a_gpu_streamed_is_counted_as_its_kernel_does_it(monkeypatch):
    kernels = pytest.importorskip("beyondprop.kernels.signs_triton")
    for module in (rates, work):
        monkeypatch.setattr(module, "compiler_for", lambda _: "triton")
    monkeypatch.setattr(kernels, "signed_sums", lambda _, x, width, __: x.new_ones(len(x), width))
    table = rates.rates.__wrapped__(CPU, 1)
    one, many = (work.work(Streamed(), 300, 500, rows, CPU).amounts for rows in (1, 33))
    assert one["drawn"] == 300 * 500
    assert many["drawn for rows"] == 300 * 500 * 3
    assert {*one, *many} <= set(table)


def test_rates_are_measured_once():
    table = rates.rates(CPU, torch.get_num_threads())
    assert table is rates.rates(CPU, torch.get_num_threads())
    assert set(table) >= set(UNITS) - {"words", "look-ups"}
    assert all(math.isfinite(rate) and rate >= 0 for rate in table.values())
    assert all(table[unit] > 0 for unit in ("calls", "multiply-adds", "bytes", "tiles", "stages"))
    assert rates.rates.__wrapped__(CPU, 1) is not table


def test_measuring_leaves_the_generator_alone():
    before = torch.get_rng_state()
    rates.rates.__wrapped__(CPU, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_measured_work_grows_until_it_takes_a_while(monkeypatch):
    sizes = []
    monkeypatch.setattr(rates, "_fastest", lambda action, _: action())

    def make(size):
        sizes.append(size)
        return (lambda: size * 1e-4), 5 * size

    assert rates._grown(make, 2, CPU) == pytest.approx(2e-5)
    assert sizes == [2, 4, 8, 16]
    assert rates._grown(make, 2, CPU, beside=1e-3) == pytest.approx(2.2e-3 / 160)


@pytest.mark.parametrize(
    ("projection", "widths", "rows"),
    [
        (Dense(), (512, 2048), 64),
        (Signs(), (512, 2048), 64),
        (Streamed(), (2048, 8192), 1),
        (Streamed(), (2048, 512), 64),
        (Hadamard(), (8192, 8192), 8),
        (Sketched(), (50_000, 512), 16),
        (Sparse(), (1024, 1024), 8),
        (LowRank(), (8192, 8192), 32),
    ],
    ids=repr,
)
def test_predictions_are_of_the_right_order(projection, widths, rows):
    """Within a factor of eight, as machines are busy."""
    predicted = choice.cost_of(projection, *widths, rows, CPU).seconds
    measured = min(trial.turns(projection, torch.ones(rows, widths[0]), widths[1], 5))
    assert predicted / 8 < measured < predicted * 8


@known
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"in_features": 0}, "widths are whole numbers from 1 to 2^40, not 0"),
        ({"out_features": 2**41}, "widths are whole numbers from 1"),
        ({"out_features": 1e6}, "whole numbers, not 1000000.0: use int()"),
        ({"batch": 0}, "a batch is at least 1, not 0"),
        ({"kinds": ()}, "nothing to choose from"),
        ({"kinds": (Redrawn,)}, "the work of Redrawn(seed=0) is not known, only that of Dense, "),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
        ({"device": "meta"}, "device 'meta' cannot be used here"),
        ({"device": None}, "a device is a name, such as 'cpu', or a torch.device, not None"),
        ({"in_features": True}, "whole numbers, not True"),
        ({"kinds": Dense}, "kinds= is a list, such as [Dense, Signs], not <class"),
        ({"kinds": [Dense()]}, "kinds= takes classes, such as Dense, or for other settings"),
        ({"kinds": ["dense"]}, "functools.partial(Dense, shared=True), not 'dense'"),
        ({"memory": "1GB"}, "memory= is a number of bytes, such as 10**9, not '1GB'"),
        ({"memory": math.nan}, "memory= is a number of bytes, such as 10**9, not nan"),
        ({"memory": -1}, "memory= is a number of bytes, such as 10**9, not -1"),
        ({"seed": -1}, "seed is a whole number from 0 to 2^64 - 1, not -1"),
        ({"seed": 1.5}, "seed is a whole number from 0 to 2^64 - 1, not 1.5"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, said):
    with pytest.raises(bp.UserError) as error:
        projections.choose(**{"in_features": 10, "out_features": 10} | arguments)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_free_memory_is_the_least_of_machine_and_container(tmp_path, monkeypatch):
    if not memory.Path("/proc/meminfo").exists():
        pytest.skip("free memory is read from /proc")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert 0 < memory.free_bytes(CPU) < 2**50
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(CPU) > 10**6
    (tmp_path / "memory.max").write_text("9000\n")
    (tmp_path / "memory.current").write_text("7000\n")
    (tmp_path / "memory.stat").write_text("anon 5000\ninactive_file 500\n")
    assert memory.free_bytes(CPU) == 2500
    (tmp_path / "memory.current").write_text("12000\n")
    assert memory.free_bytes(CPU) == 0
    with pytest.raises(bp.UserError, match="pass memory="):
        memory.free_bytes(torch.device("meta"))


@known
def test_streamed_alone_is_timed_on_a_part():
    part = trial.outputs_within(Streamed(), 10**6, 10**6, 1, CPU)
    assert part % trial.PART == 0
    assert 0 < part < 10**6
    assert choice.cost_of(Streamed(), 10**6, part, 1, CPU).seconds <= trial.LIMIT
    assert trial.outputs_within(Streamed(), 1000, 1000, 1, CPU) == 1000
    assert trial.outputs_within(Hadamard(), 2**35, 2**35, 1, CPU) == 2**35


def test_errors_are_those_of_theory():
    found = trial.errors(Dense(), 300, 500, CPU)
    assert found.norm_gaussian == pytest.approx(1000**-0.5)
    assert found.inner_gaussian == pytest.approx(math.sqrt(1.25 / 500), rel=0.05)
    assert 0.3 < found.norm / found.norm_gaussian < 2
    assert 0.3 < found.inner / found.inner_gaussian < 2
    rotation = trial.errors(Hadamard(), 512, 512, CPU)
    assert max(rotation.norm, rotation.inner) < 1e-5
    assert trial.errors(LowRank(rank=2), 300, 500, CPU).norm > 3 * found.norm


def test_rounding_is_small_and_a_wrong_map_is_not():
    assert 0 < trial.rounding(Hadamard(), 300, 500, CPU) < 1e-6
    assert trial.rounding(Wrong(), 300, 500, CPU) > 0.1


class Wrong(Signs):
    def project(self, x, out_features, stream):
        return super().project(x, out_features, stream + 1)


def test_the_default_machine_can_choose():
    projection = projections.choose(10, 64, batch=4, seed=3)
    assert projection.project(torch.ones(4, 10), 64, stream=0).shape == (4, 64)
    assert projection.seed == 3


def test_without_numba_the_plain_loop_is_measured_and_counted(monkeypatch):
    monkeypatch.setattr(registry, "installed", lambda _: False)
    table = rates.rates.__wrapped__(CPU, 1)
    assert set(table) == set(UNITS) - {"words", "look-ups"}
    amounts = work.work(Streamed(), 8192, 8192, 1, CPU).amounts
    assert amounts["tiles"] == 8192 * 8192 / 2**18
    assert set(amounts) <= set(table)


@known
def test_every_unit_of_work_is_measured():
    units = {
        unit
        for kind in ALL
        for size in ((10, 40), (5000, 3000), (70, 2**16))
        for rows in (1, 64)
        for unit in work.work(kind(), *size, rows, CPU).amounts
    }
    assert units <= set(rates.rates(CPU, torch.get_num_threads()))


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (2.5e5, "250 kB"), (5e8, "500 MB"), (2e13, "20 TB")],
)
def test_sizes_are_in_units_that_people_read(count, said):
    assert memory.size(count) == said


@pytest.mark.parametrize("widths", [(2**18, 2**18), (2**18, 1), (1, 2**18)])
def test_trying_errors_out_takes_no_more_than_is_counted(widths):
    """What all tensors have that exist at a time, those of the vectors too."""
    projection = Hadamard(9)
    with Held() as held:
        trial.errors(projection, *widths, CPU)
    assert held.most < choice.cost_of(projection, *widths, trial.VECTORS + 1, CPU).peak


class Held(TorchDispatchMode):
    """Remembers how many bytes there were at the most, of all that was made."""

    def __init__(self):
        super().__init__()
        self.now, self.most, self.known = 0, 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for made in tree_leaves(found):
            if isinstance(made, torch.Tensor) and made.untyped_storage()._cdata not in self.known:
                self.note(made.untyped_storage())
        return found

    def note(self, storage):
        key, size = storage._cdata, storage.nbytes()
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.free, key, size)

    def free(self, key, size):
        self.known.discard(key)
        self.now -= size
