"""Many tasks in one network, none of which is forgotten."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from beyondprop import UserError, slots
from tests.unit.slots.packable import CASES, NETS, inputs, learn, outputs, small
from tests.unit.slots.several_tasks import SIZE, accuracy, converted, data, net, teach


def test_nothing_is_forgotten_to_the_bit(taught):
    bank, kept = taught
    model = bank.machine.model
    assert bank.tasks == ["0", "1", "2"]
    assert len(bank) == 3
    for task in ("1", "0", "2", "0"):
        bank.use(task)
        assert torch.equal(outputs(model, data(int(task))[0]), kept[task])
        assert accuracy(model, int(task)) > 0.95
    assert accuracy(model, 1) < 0.6  # the tasks differ, or this would show nothing


def test_what_a_task_learns_does_not_hang_on_what_was_learned_before(taught):
    _, kept = taught
    bank = slots.bank(converted())
    teach(bank, 2)
    assert torch.equal(outputs(bank.machine.model, data(2)[0]), kept["2"])


@pytest.mark.parametrize("case", ["attention-8", "recurrent-5", "conv-mask", "conv-plain"])
def test_networks_of_all_sorts(case):
    name, kind, options = CASES[case]
    torch.manual_seed(0)
    model, x = NETS[name](), inputs(name)
    slots.convert(model, kind, **options)
    bank, kept = slots.bank(model), []
    for task in range(2):
        bank.restart()
        kept.append(outputs(learn(model, x, seed=task), x))
        bank.keep(str(task))
    assert not torch.equal(*kept)
    sure = []
    for task in range(2):
        bank.use(str(task))
        assert torch.equal(outputs(model, x), kept[task])
        logs = kept[task].log_softmax(-1)
        sure.append(float(-(logs.exp() * logs).sum(-1).mean()))
    assert bank.infer_each(x) == str(sure.index(min(sure)))
    assert bank.infer(x) in bank.tasks


def test_an_old_optimizer_does_not_bring_scores_back():
    model = small()
    slots.convert(
        model, slots.Reels(4, values=slots.KaimingSigns())
    )  # a staircase that keeps edges
    bank, x = slots.bank(model), inputs("small")
    learn(model, x, steps=5)
    bank.keep("a")
    bank.restart()
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), lr=0.1), model)
    learn(model, x, steps=5, seed=1)
    bank.use("a")
    kept = [reel.parameter.clone() for reel in bank.machine.reels]
    model(x).sum().backward()
    with pytest.raises(UserError, match=r"in a bank, call restart\(\) before a task"):
        optimizer.step()
    for reel, weight in zip(bank.machine.reels, kept, strict=True):
        assert torch.equal(reel.parameter, weight)


class Counting(nn.Module):
    """Counts its passes in a buffer that is not saved, and adds the count to its output."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("count", torch.zeros(()), persistent=False)
        self.register_buffer("saved", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        self.saved += 1
        return self.layer(x) + self.count


def test_what_a_pass_changes_belongs_to_the_task():
    model = Counting()
    slots.convert(model, 4)
    bank, x = slots.bank(model), torch.randn(2, 4)
    bank.keep("a")
    expected = model(x)
    for look in (bank.infer, bank.infer_each):
        assert look(x) == "a"
    for _ in range(3):
        model(x)
    bank.use("a")
    assert model.saved == 0
    assert torch.equal(model(x), expected)
    bank.restart()
    assert model.count == 0


def test_what_it_takes(taught):
    bank, _ = taught
    weights = SIZE * 64 + 64 * 64 + 64 * 4
    assert bank.bits == 3
    assert bank.size("0") == weights * 3 // 8 + 2 * 64 * 4 + 8
    assert slots.bank(converted(2)).bits == 1


def test_a_kept_task_can_be_kept_anew():
    bank = slots.bank(converted())
    teach(bank, 0, steps=1)
    teach(bank, 0, steps=20)
    wanted = outputs(bank.machine.model, data(0)[0])
    bank.restart()
    bank.use("0")
    assert torch.equal(outputs(bank.machine.model, data(0)[0]), wanted)
    assert bank.tasks == ["0"]


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match="has no slots"):
        slots.bank(net())
    with pytest.raises(UserError, match="redrawn in each"):
        slots.bank(converted(slots.Reels(4, slots.Sampled())))
    bank = slots.bank(converted())
    with pytest.raises(UserError, match="no task 'a'; it has: none yet"):
        bank.use("a")
    for ask in (bank.infer, bank.infer_each, lambda _: bank.save(tmp_path)):
        with pytest.raises(UserError, match="the bank has no task yet"):
            ask(data(0)[0])
    bank.keep("a")
    bank.keep("b")
    before = outputs(bank.machine.model, data(0)[0])
    with pytest.raises(UserError, match="it has: a, b"):
        bank.use("c")
    assert torch.equal(outputs(bank.machine.model, data(0)[0]), before)


SCRIPT = """
import sys, torch
from beyondprop import slots
from tests.unit.slots.packable import outputs
from tests.unit.slots.several_tasks import converted, data
torch.manual_seed(5)
bank = slots.load_bank(sys.argv[1], converted())
for task in range(3):
    bank.use(str(task))
    print(outputs(bank.machine.model, data(task)[0]).numpy().tobytes().hex())
    print(bank.infer(data(task)[0]), bank.infer_each(data(task)[0]))
"""


def test_a_saved_bank_is_the_same_in_another_process(taught, tmp_path):
    bank, kept = taught
    bank.save(tmp_path / "bank")
    bank.save(tmp_path / "bank")
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / "bank")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = done.stdout.split("\n")
    for task in range(3):
        assert lines[2 * task] == kept[str(task)].numpy().tobytes().hex()
        assert lines[2 * task + 1] == f"{task} {task}"
    loaded = slots.load(tmp_path / "bank" / "task-1.safetensors", net(9))
    assert torch.equal(outputs(loaded, data(1)[0]), kept["1"])


def test_any_name_will_do_in_a_folder(tmp_path):
    bank = slots.bank(converted())
    names = ["", "..", "a/b", "träge Katze", "x" * 60, "1.5%"]
    for name in names:
        bank.keep(name)
    bank.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(names)
    assert sorted(slots.load_bank(tmp_path, converted()).tasks) == sorted(names)
    bank.keep("A/B")
    with pytest.raises(UserError, match="only in upper and lower case"):
        bank.save(tmp_path)


def test_folders_of_other_banks(taught, tmp_path):
    bank, _ = taught
    with pytest.raises(UserError, match="no packed tasks"):
        slots.load_bank(tmp_path, converted())
    bank.save(tmp_path)
    for model in (converted(4), converted(seed=1), converted(biases=True)):
        with pytest.raises(UserError, match="belongs to another network, as its"):
            slots.load_bank(tmp_path, model)
    wide = nn.Sequential(*net(), nn.BatchNorm1d(4))
    slots.convert(wide, 8, exclude=["6"])
    with pytest.raises(UserError, match="parameters that are not chosen"):
        slots.load_bank(tmp_path, wide)
    other = slots.bank(converted())
    other.keep("else")
    with pytest.raises(UserError, match=r"holds task-0\.safetensors of another bank"):
        other.save(tmp_path)
    damaged = tmp_path / "task-1.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        slots.load_bank(tmp_path, converted())
