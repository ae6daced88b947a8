"""Packed files that are damaged, changed or forged are refused before they do harm."""

import json
import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beyondprop import UserError, slots
from tests.unit.slots.internals import digest
from tests.unit.slots.packable import inputs, outputs, refused, same, small, snapshot


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
        assert "not a complete safetensors file" in refused(tmp_path / name)
    torch.save(small().state_dict(), tmp_path / "torch")
    refused(tmp_path / "torch", match="not a complete safetensors file")
    safetensors.torch.save_file(small().state_dict(), tmp_path / "other")
    refused(tmp_path / "other", match="not a packed model")


def test_truncated_files(good):
    content, _, folder = good
    for length in {*range(0, len(content), 7), len(content) - 1}:
        (folder / "short").write_bytes(content[:length])
        refused(folder / "short", match="not a complete safetensors file")
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
    "above float32": {"reels": reel(deviation="0x1p200")},
    "above float16": {"reels": reel(deviation="0x1p17", dtype="float16")},
    "dtype": {"reels": reel(dtype="int64")},
    "other dtype": {"reels": reel(dtype="float64")},
    "shape": {"reels": reel(shape=[4, 5])},
    "flat": {"reels": reel(shape=[20])},
    "huge shape": {"reels": reel(shape=[2**40, 2**40])},
    "half a shape": {"reels": reel(shape=[2.5, 8])},
    "name": {"reels": reel(name="0.bias")},
    "stranger": {"reels": reel(name="9.weight")},
    "biases": {"biases": "1"},
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
        assert "install a newer one" in message
