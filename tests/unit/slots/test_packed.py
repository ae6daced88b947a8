"""Packed files: the same function from few bits, and every bad file refused before it does harm."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import beyondprop as bp
from beyondprop import UserError, slots
from tests.unit.slots.internals import digest
from tests.unit.slots.packable import CASES, NETS, inputs, learn, lenet, outputs, small

HERE = Path(__file__).parent


def converted(net, kind, **options):
    torch.manual_seed(7)
    model = NETS[net]()
    slots.convert(model, kind, **options)
    return learn(model, inputs(net))


def packed_small(path, kind=3, **options):
    """Pack a small network that has learned; return its outputs."""
    torch.manual_seed(7)
    model = small()
    slots.convert(model, kind, **options)
    slots.pack(learn(model, inputs("small")), path)
    return outputs(model, inputs("small"))


def snapshot(model):
    """Return all that loading could change."""
    tensors = {
        n: (id(t), t.clone(), t.requires_grad) for n, t in model.state_dict(keep_vars=True).items()
    }
    return tensors, repr(model), torch.get_rng_state()


def same(before, after):
    (one, text, draws), (other, new_text, new_draws) = before, after
    assert text == new_text
    assert one.keys() == other.keys()
    for name, (identity, value, learns) in one.items():
        assert (identity, learns) == (other[name][0], other[name][2])
        assert torch.equal(value, other[name][1])
    assert torch.equal(draws, new_draws)


def refused(path, model=None, match=None):
    model = small() if model is None else model
    before = snapshot(model)
    with pytest.raises(UserError, match=match) as error:
        slots.load(path, model)
    same(before, snapshot(model))
    assert str(error.value).count(". ") == 0
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A folder with every case packed, and the outputs of the packed models."""
    folder, wanted = tmp_path_factory.mktemp("packed"), {}
    for case, (net, kind, options) in CASES.items():
        model = converted(net, kind, **options)
        slots.pack(model, folder / f"{case}.safetensors")
        wanted[case] = outputs(model, inputs(net))
    return folder, wanted


def test_another_process_computes_the_same_bits(packed):
    folder, wanted = packed
    command = [sys.executable, "-W", "error", HERE / "packable.py", folder]
    subprocess.run(command, check=True, capture_output=True, text=True)
    found = safetensors.torch.load_file(folder / "outputs.safetensors")
    assert found.keys() == wanted.keys()
    for case, values in wanted.items():
        assert torch.equal(found[case], values), case


def test_they_are_small(packed):
    folder, _ = packed
    weights = 784 * 300 + 300 * 100 + 100 * 10
    assert weights * 3 / 8 < (folder / "lenet-8.safetensors").stat().st_size <= 105_000
    free = 4 * (300 + 100 + 10)
    assert (folder / "lenet-2.safetensors").stat().st_size <= weights / 8 + free + 2_000


def test_the_same_model_gives_the_same_bytes_and_goes_on_as_it_was(tmp_path):
    model = converted("convnet", 8)
    before = snapshot(model)
    for name in "ab":
        slots.pack(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    same(before, snapshot(model))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("case", ["conv-3", "conv-plain", "recurrent-5", "attention-8"])
def test_what_is_loaded_is_an_ordinary_model_that_learns_no_choices(packed, case):
    folder, wanted = packed
    net, _, options = CASES[case]
    model = NETS[net]()
    before = torch.get_rng_state()
    assert slots.load(folder / f"{case}.safetensors", model) is model
    assert torch.equal(before, torch.get_rng_state())
    assert slots.machine_of(model) is None
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    left = tuple(f"{name}." for name in options.get("exclude", ()))
    plain = options.get("plain", False)
    assert all(
        name.startswith(left) or (plain and p.dim() < 2)
        for name, p in model.named_parameters()
        if name in learning
    )
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(outputs(pickle.loads(pickle.dumps(model)), inputs(net)), wanted[case])


def test_the_batches_statistics_that_were_learned_come_along(packed):
    folder, _ = packed
    model = slots.load(folder / "conv-3.safetensors", NETS["convnet"]())
    assert model[1].num_batches_tracked == 3
    assert model[1].running_mean.abs().sum() > 0
    assert model[1].weight is None
    assert model[0].bias is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_than_float32(tmp_path, dtype):
    model = small().to(dtype)
    slots.convert(model, 4)
    slots.pack(model, tmp_path / "m")
    loaded = slots.load(tmp_path / "m", small().to(dtype))
    x = inputs("small").to(dtype)
    assert torch.equal(outputs(loaded, x), outputs(model, x))
    assert "call model.to" in refused(tmp_path / "m", small())


def test_channels_last_weights_are_packed_by_their_places(tmp_path):
    model = NETS["convnet"]().to(memory_format=torch.channels_last)
    slots.convert(model, 8)
    slots.pack(model, tmp_path / "m")
    loaded = slots.load(tmp_path / "m", NETS["convnet"]())
    assert torch.equal(loaded[0].weight, model[0].weight)
    loaded = slots.load(tmp_path / "m", NETS["convnet"]().to(memory_format=torch.channels_last))
    x = inputs("convnet")
    assert torch.equal(outputs(loaded, x), outputs(model, x))


def test_weights_that_are_drawn_are_packed_as_the_best_ones(tmp_path):
    model = small()
    slots.convert(model, slots.Reels(4, slots.Sampled()))
    learn(model, inputs("small"))  # the last forward pass drew
    slots.pack(model, tmp_path / "m")
    loaded = slots.load(tmp_path / "m", small())
    assert torch.equal(outputs(loaded, inputs("small")), outputs(model, inputs("small")))


def test_more_weights_than_are_packed_at_a_time(tmp_path):
    model = nn.Linear(70_001, 2)
    slots.convert(model, 5)
    slots.pack(model, tmp_path / "m")
    loaded = slots.load(tmp_path / "m", nn.Linear(70_001, 2))
    assert torch.equal(loaded.weight, model.weight)


def test_a_model_that_was_not_converted_or_was_changed_is_not_packed(tmp_path):
    with pytest.raises(UserError, match="has no slots"):
        slots.pack(small(), tmp_path / "m")
    model = small()
    slots.convert(model, 4)
    with torch.no_grad():
        model[0].weight.add_(1)
    with pytest.raises(UserError, match="not among its fixed values"):
        slots.pack(model, tmp_path / "m")
    model = small()
    slots.convert(model, 4)
    model[1].running_mean.fill_(torch.nan)
    with pytest.raises(UserError, match="no numbers"):
        slots.pack(model, tmp_path / "m")
    model[1].running_mean.zero_()
    model[3] = nn.Linear(5, 3)
    with pytest.raises(UserError, match="was replaced"):
        slots.pack(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


class Stateful(nn.Linear):
    def get_extra_state(self):
        return {"calls": 1}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize("name", ["extra", "complex"])
def test_state_that_cannot_be_packed(tmp_path, name):
    model = Stateful(3, 2)
    if name == "complex":
        model = nn.Linear(3, 2)
        model.register_buffer("phase", torch.zeros(2, dtype=torch.complex128))
    slots.convert(model, 4)
    with pytest.raises(UserError, match=r"neither a parameter nor a buffer|cannot be packed"):
        slots.pack(model, tmp_path / "m")


def test_an_unwritable_place_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        packed_small(tmp_path / "file" / "m")


def test_files_that_are_none(tmp_path):
    assert "cannot read" in refused(tmp_path / "missing")
    assert "cannot read" in refused(tmp_path)
    contents = {
        "empty": b"",
        "text": b"hello",
        "pickle": pickle.dumps(small().state_dict()),
        "huge": b"\xff" * 64,
        "nested": (100_000).to_bytes(8, "little") + b"[" * 100_000,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert "not a whole safetensors file" in refused(tmp_path / name)
    torch.save(small().state_dict(), tmp_path / "torch")
    refused(tmp_path / "torch", match="not a whole safetensors file")
    safetensors.torch.save_file(small().state_dict(), tmp_path / "other")
    refused(tmp_path / "other", match="not a packed model")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    wanted = packed_small(folder / "m", plain=True)
    return (folder / "m").read_bytes(), wanted, folder


def test_truncated_files(good):
    content, _, folder = good
    for length in {*range(0, len(content), 7), len(content) - 1}:
        (folder / "short").write_bytes(content[:length])
        refused(folder / "short", match="not a whole safetensors file")
    (folder / "short").write_bytes(content + b"\0")
    refused(folder / "short")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_byte_is_found_or_changes_nothing(good, data):
    content, wanted, folder = good
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    (folder / "changed").write_bytes(changed)
    model = small()
    before = snapshot(model)
    try:
        slots.load(folder / "changed", model)
    except UserError:
        same(before, snapshot(model))
    else:  # white space between the header and the tensors
        assert torch.equal(outputs(model, inputs("small")), wanted)


def forged(good, **changes):
    """Return a file whose metadata or tensors were changed, with a digest that fits."""
    content, _, folder = good
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])["__metadata__"]
    tensors = safetensors.torch.load(content)
    for key, value in changes.items():
        if key == "tensors":
            tensors.update(value)
        elif value is None:
            del head[key]
        else:
            head[key] = value(head[key]) if callable(value) else value
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    head.pop("digest", None)
    head["digest"] = digest(head, tensors)
    (folder / "forged").write_bytes(safetensors.torch.save(tensors, head))
    return folder / "forged"


def reel(**changes):
    def change(text):
        reels = json.loads(text)
        reels[0].update(changes)
        return json.dumps(reels)

    return change


def test_a_forger_who_changes_nothing_is_believed(good):
    loaded = slots.load(forged(good), small())
    assert torch.equal(outputs(loaded, inputs("small")), good[1])


LIES = {
    "newer": {"version": "2"},
    "no version": {"version": None},
    "odd version": {"version": "one"},
    "format": {"format": "something else"},
    "seed": {"seed": "-1"},
    "seed text": {"seed": '"0"'},
    "seed true": {"seed": "true"},
    "no seed": {"seed": None},
    "long seed": {"seed": "9" * 5000},
    "nested": {"tied": "[" * 100_000},
    "kind": {"kind": '{"kind": "os.system"}'},
    "kind list": {"kind": "[]"},
    "too few slots": {"kind": lambda text: text.replace(":3", ":2")},
    "odd slots": {"kind": lambda text: text.replace(":3", ":null")},
    "no reels": {"reels": "[]"},
    "reels": {"reels": "{}"},
    "reel": {"reels": "[1]"},
    "twice": {"reels": lambda text: json.dumps(json.loads(text) * 2)},
    "deviation": {"reels": reel(deviation="nan")},
    "infinite": {"reels": reel(deviation="inf")},
    "negative": {"reels": reel(deviation="-0x1p-1")},
    "no number": {"reels": reel(deviation="one")},
    "number": {"reels": reel(deviation=0.5)},
    "huge number": {"reels": reel(deviation="0x1p99999")},
    "dtype": {"reels": reel(dtype="int64")},
    "other dtype": {"reels": reel(dtype="float64")},
    "shape": {"reels": reel(shape=[4, 5])},
    "flat": {"reels": reel(shape=[20])},
    "huge shape": {"reels": reel(shape=[2**40, 2**40])},
    "half a shape": {"reels": reel(shape=[2.5, 8])},
    "name": {"reels": reel(name="0.bias")},
    "stranger": {"reels": reel(name="9.weight")},
    "plain": {"plain": "1"},
    "removed": {"removed": '"0.bias"'},
    "removed too": {"removed": '["0.bias"]'},
    "removed weight": {"removed": '["0.weight"]', "tensors": {"chosen.0.weight": None}},
    "removed module": {"removed": '["0"]'},
    "tied": {"tied": '{"3.bias": "0.bias"}'},
    "tied list": {"tied": "[]"},
    "option": {"tensors": {"chosen.0.weight": torch.full((5,), 255, dtype=torch.uint8)}},
    "few options": {"tensors": {"chosen.0.weight": torch.zeros(4, dtype=torch.uint8)}},
    "many options": {"tensors": {"chosen.0.weight": torch.zeros(6, dtype=torch.uint8)}},
    "float options": {"tensors": {"chosen.0.weight": torch.zeros(5)}},
    "no options": {"tensors": {"chosen.0.weight": None}},
    "no numbers": {"tensors": {"free.0.bias": torch.full((5,), torch.nan)}},
    "other bias": {"tensors": {"free.0.bias": torch.zeros(6)}},
    "wide bias": {"tensors": {"free.0.bias": torch.zeros(5, dtype=torch.float64)}},
    "no bias": {"tensors": {"free.0.bias": None}},
    "more": {"tensors": {"free.more": torch.zeros(1)}},
    "else": {"tensors": {"else": torch.zeros(1)}},
    "both": {"tensors": {"free.0.weight": torch.zeros(5, 4)}},
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_with_a_digest_that_fits(good, lie):
    message = refused(forged(good, **LIES[lie]))
    if lie == "newer":
        assert "install a newer beyondprop" in message


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (nn.Sequential(nn.Linear(4, 5)), "does not fit this Sequential"),
        (nn.Linear(4, 5), "has no parameter"),
        (
            nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)),
            r"\(5, 4\)",
        ),
        (nn.Sequential(*small(), nn.Linear(3, 1)), "'4.bias' is not in the file"),
        (nn.Sequential(nn.Linear(4, 5, False), *small()[1:]), "'0.bias' is not in the model"),
        (nn.Sequential(nn.LazyLinear(5), *small()[1:]), "without a shape"),
        (small().double(), "float64 in the model"),
        (small().to("meta"), "no memory"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_other_architectures(good, model, match):
    content, _, folder = good
    (folder / "m").write_bytes(content)
    with pytest.raises(UserError, match=match):
        slots.load(folder / "m", model)


def test_a_converted_model_is_no_place_to_load_into(good):
    content, _, folder = good
    (folder / "m").write_bytes(content)
    model = small()
    slots.convert(model, 3, plain=True)
    refused(folder / "m", model, "give an unconverted model")
    refused(folder / "m", nn.Sequential(model), "give an unconverted model")
    attached = small()
    bp.attach(attached, bp.DirectFeedbackAlignment())
    refused(folder / "m", attached, "has rules attached")


def test_what_is_tied_in_one_and_not_in_the_other(packed, tmp_path):
    folder, _ = packed
    model = NETS["attention"]()
    model.out.weight = nn.Parameter(model.out.weight.detach().clone())
    refused(folder / "attention-8.safetensors", model, "'out.weight' is tied")
    torch.manual_seed(0)
    untied = NETS["attention"]()
    untied.out.weight = nn.Parameter(untied.out.weight.detach().clone())
    slots.convert(untied, 4)
    slots.pack(untied, tmp_path / "m")
    refused(tmp_path / "m", NETS["attention"](), "'embed.weight' is tied")


def test_a_bias_that_is_taken_out_must_be_there(tmp_path):
    packed_small(tmp_path / "m")
    bare = nn.Sequential(nn.Linear(4, 5, False), *small()[1:])
    refused(tmp_path / "m", bare, "has no '0.bias' to take out")


def test_lenet_is_loaded_over_whatever_was_there(packed):
    folder, wanted = packed
    model = lenet()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    slots.load(folder / "lenet-8.safetensors", model)
    assert model[0].weight.grad is None
    assert torch.equal(outputs(model, inputs("lenet")), wanted["lenet-8"])


def test_a_model_that_cannot_be_written_to_is_left_alone(tmp_path):
    class Net(nn.Module):
        def __init__(self, expanded=False):
            super().__init__()
            self.layer = nn.Linear(3, 2)
            buffer = torch.zeros(1).expand(5) if expanded else torch.zeros(5)
            self.register_buffer("table", buffer)

    model = Net()
    slots.convert(model)
    slots.pack(model, tmp_path / "net.slots")
    other = Net(expanded=True)
    before = {n: t.clone() for n, t in other.state_dict().items()}
    with pytest.raises(UserError, match="'table' cannot be written to"):
        slots.load(tmp_path / "net.slots", other)
    assert other.layer.bias is not None
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, before[name])
