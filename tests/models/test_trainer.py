"""Hugging Face's trainer, unchanged, on a GPT-2 whose labels lie inside the model."""

import pytest
import torch
import torch.nn.functional as F

import beyondprop as bp

pytestmark = [pytest.mark.foreign, pytest.mark.filterwarnings("ignore")]
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, ROWS, TOKENS, VOCABULARY = 50, 8, 12, 31
RATES = {"fa": 1e-9}  # random feedback explodes when weights start at 0.02
RULES = ["backprop", "dfa", "drtp", "dgl", "ebd", "fa", "frozen"]


def gpt2():
    torch.manual_seed(0)
    shape = {"n_layer": 3, "n_head": 2, "n_embd": 16, "n_positions": TOKENS}
    quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = transformers.GPT2Config(vocab_size=VOCABULARY, **shape, **quiet)
    model = transformers.GPT2LMHeadModel(config).double()
    model.loss_function = causal_loss
    return model


def causal_loss(logits, labels, vocab_size, num_items_in_batch=None, **_):
    """Compute what the model's own loss does, which takes all numbers for single precision."""
    target = F.pad(labels[:, 1:], (0, 1), value=-100).flatten()
    reduction = "mean" if num_items_in_batch is None else "sum"
    loss = F.cross_entropy(logits.view(-1, vocab_size), target, reduction=reduction)
    return loss if num_items_in_batch is None else loss / num_items_in_batch


def attached(rule):
    model = gpt2()
    made = bp.rules.make(rule)
    places = bp.Frozen() if rule == "frozen" else bp.Backprop()  # nothing would teach them
    rules = {"transformer.wte": bp.Backprop(), "transformer.wpe": places, "transformer.h.*": made}
    return model, bp.attach(model, rules, output="transformer.ln_f", targets="labels")


class Rows(torch.utils.data.Dataset):
    """Sentences in which each token says the next."""

    def __init__(self, batches):
        step = torch.arange(batches * ROWS)[:, None] * 5 + torch.arange(TOKENS)[None] * 3
        self.rows = step % VOCABULARY

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return {"input_ids": self.rows[place], "labels": self.rows[place]}


class InOrder(transformers.Trainer):
    """The trainer, which keeps the order of the data."""

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def by_trainer(model, handle, rule, folder, parts):
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=ROWS // parts,
        gradient_accumulation_steps=parts,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        logging_steps=STEPS,
    )
    held = [*model.parameters(), *handle.parameters()]
    optimizer = torch.optim.SGD(held, RATES.get(rule, 0.01), momentum=0.9)
    data = Rows(STEPS)
    InOrder(model, arguments, train_dataset=data, optimizers=(optimizer, None)).train()


def by_hand(model, handle, rule):
    held = [*model.parameters(), *handle.parameters()]
    optimizer = torch.optim.SGD(held, RATES.get(rule, 0.01), momentum=0.9)
    losses = []
    model.train()
    for rows in Rows(STEPS).rows.split(ROWS):
        optimizer.zero_grad()
        # So the trainer counts, though the last token of each row has no label.
        items = torch.tensor(rows.numel())
        loss = model(input_ids=rows, labels=rows, num_items_in_batch=items).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("rule", RULES)
def test_the_trainer_does_the_same_as_a_loop_by_hand(rule, parts, tmp_path):
    if rule == "ebd" and parts > 1:
        pytest.skip("its correlations follow each batch that it sees")
    mine, handle = attached(rule)
    losses = by_hand(mine, handle, rule)
    assert sum(losses[-5:]) < sum(losses[:5]) or rule == "fa"
    model, handle = attached(rule)
    by_trainer(model, handle, rule, tmp_path, parts)
    tolerance = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(
        dict(model.named_parameters()), dict(mine.named_parameters()), **tolerance
    )


@pytest.mark.parametrize("shift", [None, 0])
def test_a_local_head_learns_nothing_from_random_text_unless_the_shift_is_missing(shift):
    model = gpt2()
    blocks = {"transformer.w?e": bp.Backprop(), "transformer.h.*": bp.rules.make("dgl")}
    handle = bp.attach(model, blocks, output="transformer.ln_f", targets="labels", shift=shift)
    torch.manual_seed(1)
    text = torch.randint(VOCABULARY, (64, TOKENS))
    model(input_ids=text, labels=text).loss.backward()  # makes the heads
    optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()], 3e-3)
    for rows in text.split(8) * 20:
        optimizer.zero_grad()
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
    fresh = torch.randint(VOCABULARY, (64, TOKENS))
    with torch.no_grad():
        hidden = model(input_ids=fresh, output_hidden_states=True).hidden_states[1]
    weight, bias = handle.parameters()[:2]  # the first layer's head
    logits = F.linear(hidden, weight, bias)
    chance = torch.tensor(VOCABULARY).log()
    own = F.cross_entropy(logits.flatten(0, 1), fresh.flatten())
    following = F.cross_entropy(logits[:, :-1].flatten(0, 1), fresh[:, 1:].flatten())
    assert following > 0.98 * chance
    assert (own < 0.5 * chance) if shift == 0 else (own > 0.98 * chance)
