import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.tasks import Task, attached, call, find, from_text, language, shakespeare
from beyondprop.tasks.language import BitsPerCharacter, Recent, token_loss
from beyondprop.tasks.texts import Characters

TEXT = "".join(f"{number} cats sat on {number} mats, and so on.\n" for number in range(60))
SIZES: dict[str, Any] = {"layers": 2, "width": 8, "heads": 2, "length": 12}
RULE = bp.DirectFeedbackAlignment()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cats.txt"
    path.write_text(TEXT)
    return path


def test_a_text_makes_a_task(path: Path) -> None:
    task = from_text(path, **SIZES, epochs=1)
    assert (task.name, task.epochs) == ("cats-pre-macro", 1)
    assert task.summary == "characters of cats.txt, a pre-LN decoder of 2 layers, macro blocks"
    data = task.load(None)
    inputs, targets = data.train.batch(slice(4))
    outputs = task.model()(inputs)
    assert outputs.shape == (4, 12, len(set(TEXT)))
    uniform = torch.zeros_like(outputs)
    assert task.metric(uniform, targets) == pytest.approx(-math.log2(outputs.shape[-1]))
    assert task.loss(uniform, targets).item() == pytest.approx(math.log(outputs.shape[-1]))


def test_a_spec_names_it(path: Path) -> None:
    spec = {"task": "beyondprop.tasks:from_text", "path": str(path), "micro": True, **SIZES}
    assert find(spec).name == "cats-pre-micro"
    spec = {"task": "beyondprop.tasks:shakespeare", "norm_first": False, "name": "s", **SIZES}
    assert find(spec).name == "s"


def test_each_seed_draws_its_windows(path: Path) -> None:
    task = from_text(path, **SIZES, windows=9)
    data = task.load(None)
    assert task.split is not None
    drawn = [task.split(data, seed) for seed in (0, 0, 1)]
    first, again, other = (each.train.batch(slice(9))[0] for each in drawn)
    assert len(drawn[0].train) == 9
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    whole = {tuple(row.tolist()) for row in data.train.batch(slice(len(data.train)))[0]}
    assert {tuple(row.tolist()) for row in first} <= whole
    assert drawn[0].test is data.test
    assert from_text(path, **SIZES).split is None


def test_more_windows_than_there_are_are_refused(path: Path) -> None:
    task = from_text(path, **SIZES, windows=10_000)
    assert task.split is not None
    with pytest.raises(UserError, match=r"draw 1 to .*, not 10,000"):
        task.split(task.load(None), 0)


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ({"layers": 0}, "layers must be a whole number > 0, not 0"),
        ({"length": "12"}, "length must be a whole number > 0, not '12'"),
        ({"windows": 0}, "windows must be a whole number > 0, not 0"),
        ({"width": 9}, "a width of 9 is not divisible by 2 heads"),
        ({"epoch": 3}, "a task has no epoch"),
    ],
)
def test_sizes_that_fit_no_decoder_are_told(path: Path, sizes: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        from_text(path, **SIZES | sizes)


def test_bits_are_those_of_a_character_whatever_a_class_holds() -> None:
    outputs, targets = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    nats = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum").item()
    counts = (1, 2, 1, 4, 3)
    total = sum(counts[each] for each in targets.flatten().tolist())
    found = BitsPerCharacter(counts)(outputs, targets)
    assert found == pytest.approx(-nats / math.log(2) / total)


def test_the_linear_model_sees_the_last_classes_one_hot() -> None:
    inputs = torch.tensor([[2, 0, 1]])
    found = Recent(3, count=2)(inputs)
    now = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    before = [[0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert found[0].tolist() == [a + b for a, b in zip(now, before, strict=True)]


def test_with_byte_pairs_the_text_is_shorter_and_bits_are_still_of_characters(path: Path) -> None:
    pytest.importorskip("tokenizers")
    task = from_text(path, byte_pairs=300, **SIZES)
    assert task.summary.startswith("byte pairs of cats.txt")
    data = task.load(None)
    inputs, targets = data.train.batch(slice(None))
    assert targets.numel() < 0.9 * len(TEXT) * 2 / 3
    uniform = torch.zeros(*targets.shape, 300)
    assert -task.metric(uniform, targets) < 0.67 * math.log2(300)
    assert task.model()(inputs[:2]).shape == (2, 12, 300)


def small(norm_first: bool, micro: bool) -> Task:
    return shakespeare(norm_first=norm_first, micro=micro, **SIZES)


def by_hand(model: nn.Module, norm_first: bool, micro: bool, ids: Tensor, targets: Tensor) -> None:
    """One step of direct feedback alignment as its definition says, block by block."""
    embed, layers, norm, head = (
        model.get_submodule(name) for name in ("embed", "layers", "norm", "head")
    )
    ends: list[Tensor] = []

    def cut(x: Tensor) -> Tensor:
        ends.append(x)
        return x.detach()

    x = cut(embed(ids))
    for layer in layers.children():
        given: Any = layer
        if not micro:
            x = cut(given(x))
        elif norm_first:
            x = x + cut(given.attention(given.attention_norm(x)))
            wide = cut(given.activation(given.up(given.up_norm(x))))
            x = cut(x + given.down(wide))
        else:
            x = cut(given.norm1(x + given.attention(x)))
            wide = cut(given.activation(given.up(x)))
            x = cut(given.norm2(x + given.down(wide)))
    hidden = norm(x).requires_grad_()
    token_loss(head(hidden), targets).backward()
    error = hidden.grad
    assert error is not None
    for end in ends:
        matrix = RULE.projection.matrix(error.shape[-1], end.shape[-1], 0, error)
        end.backward(error @ matrix)


@pytest.mark.parametrize("micro", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_direct_feedback_teaches_what_a_step_by_hand_does(norm_first: bool, micro: bool) -> None:
    task = small(norm_first, micro)
    ids, targets = torch.randint(65, (2, 3, 12))
    torch.manual_seed(0)
    plain = task.model().double()
    torch.manual_seed(0)
    model = task.model().double()
    attached(task, model, RULE, task.blocks)
    task.loss(call(model, ids), targets).backward()
    by_hand(plain, norm_first, micro, ids, targets)
    found = {name: each.grad for name, each in model.named_parameters()}
    expected = {name: each.grad for name, each in plain.named_parameters()}
    assert all(gradient is not None for gradient in expected.values())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_shakespeare_is_found_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("shakespeare-post-micro")
    text = language.LETTERS * 4
    (tmp_path / "tinyshakespeare.txt").write_text(text)
    with pytest.raises(UserError, match="damaged or belongs to another data set"):
        task.load(tmp_path)
    digest = hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setitem(language.LOOSE.files, "tinyshakespeare.txt", digest)  # type: ignore[arg-type]
    small_one = shakespeare(**SIZES | {"length": 4})
    inputs, _ = small_one.load(tmp_path).train.batch(slice(None))
    assert inputs.flatten()[:65].tolist() == Characters(language.LETTERS).encode(text)[:65].tolist()
    with pytest.raises(UserError, match=r"Tiny Shakespeare is not in .*input.txt"):
        task.load(tmp_path / "empty")
