"""Packed models: the same function from few bits, in models that fit."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import beyondprop as bp
from beyondprop import UserError, slots
from beyondprop.random import slot_words
from tests.unit.slots.packable import (
    CASES,
    NETS,
    inputs,
    learn,
    lenet,
    outputs,
    packed_small,
    refused,
    same,
    small,
    snapshot,
    trained,
)

HERE = Path(__file__).parent


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
    model = trained("convnet", 8)
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
    biases = options.get("biases", False)
    assert all(
        name.startswith(left) or (biases and p.dim() < 2)
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


def test_loading_draws_one_value_for_each_weight_however_many_there_are(tmp_path, monkeypatch):
    model = nn.Linear(3, 2)
    slots.convert(model, 2**16)
    slots.pack(model, tmp_path / "m")
    drawn = []

    def counted(words):
        drawn.append(words.numel())
        return mix(words)

    mix = slot_words.mix
    monkeypatch.setattr(slot_words, "mix", counted)
    loaded = slots.load(tmp_path / "m", nn.Linear(3, 2))
    assert sum(drawn) == 2 * model.weight.numel()  # once for its place and once for its slot
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
    with pytest.raises(UserError, match="contains NaN"):
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
    slots.convert(model, 3, biases=True)
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
    refused(tmp_path / "m", bare, "has no '0.bias' to remove")


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
