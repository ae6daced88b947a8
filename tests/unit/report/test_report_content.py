"""The page says what the record says, and nothing else."""

from typing import Any

import pytest
from html_tree import Element, read, rows
from report_records import compare, comparison, diverge, realistic, run

from beyondprop import report

Record = dict[str, Any]


def table(page: str, caption: str) -> list[list[str]]:
    """The cells of the table whose container has this label."""
    return rows(read(page).all("div", class_="scroll", aria_label=caption)[0].all("table")[0])


def headline(page: str) -> str:
    return read(page).all("h1")[0].text


def lead(page: str) -> str:
    return " ".join(sentence.text for sentence in read(page).all("p", class_="lead"))


def facts(page: str) -> dict[str, str]:
    listed = read(page).all("dl", class_="facts")[0]
    terms, texts = listed.all("dt"), listed.all("dd")
    return {term.text: text.text for term, text in zip(terms, texts, strict=True)}


def section(page: str, title: str) -> Element:
    return next(s for s in read(page).all("section") if s.children[0].text == title)


def with_rows(**figures: dict[str, Any]) -> Record:
    """Backprop, DFA and frozen, with these figures in their rows."""
    record = comparison(("backprop", "dfa", "frozen"), epochs=2)
    for row in record["rows"]:
        row.update(figures.get(row["rule"], {}))
    return record


def test_the_headline_tells_every_rule_and_the_cost_of_a_single_one() -> None:
    record = with_rows(dfa={"recovery": 0.966, "step_ratio": 0.8449})
    assert headline(report.render(record)) == (
        "DFA (recovery 97%) does not differ significantly from backprop, at 0.84× the step time"
    )
    record = comparison(epochs=1)
    for row, recovery in zip(record["rows"], [1.0, 0.99, 0.97, -0.032, 0.0], strict=True):
        row["recovery"] = recovery
    assert headline(report.render(record)) == (
        "FA (recovery 99%) and DFA (recovery 97%) do not differ significantly from backprop;"
        " DRTP scores below frozen hidden layers"
    )
    record["rows"][3]["recovery"] = -0.004
    assert "; DRTP recovers 0% of what backprop gains over" in headline(report.render(record))
    for row in record["rows"][1:4]:
        row["recovery"] = -0.2
    assert headline(report.render(record)) == "FA, DFA and DRTP score below frozen hidden layers"


def test_the_headline_claims_nothing_whose_interval_holds_zero() -> None:
    record = comparison(epochs=1)
    found = [(1.0, [1.0, 1.0]), (0.9, [0.8, 1.0]), (0.4, [-0.1, 0.9]), (-16.0, [-42.0, 10.0])]
    for row, (recovery, interval) in zip(record["rows"], found, strict=False):
        row.update(recovery=recovery, recovery_interval=interval)
    assert headline(report.render(record)) == (
        "FA (recovery 90%, 80% to 100%) does not differ significantly from backprop;"
        " DFA and DRTP show no significant recovery over frozen hidden layers"
    )
    record["rows"][1].update(recovery=-0.9, recovery_interval=[-1.0, -0.8])
    assert headline(report.render(record)) == (
        "FA scores below frozen hidden layers; DFA and DRTP show no significant recovery over "
        "frozen"
    )


def test_many_rules_are_told_as_a_range() -> None:
    rules = ("backprop", "a", "b", "c", "d", "e", "frozen")
    record = comparison(rules, seeds=(0,), epochs=1)  # one seed tests no difference
    for row, recovery in zip(record["rows"], [1, 0.3, 0.5, 0.9, 0.2, 0.4, 0], strict=True):
        row["recovery"] = recovery
    assert headline(report.render(record)).startswith(
        "5 rules recover from 20% (D) to 90% (C) of what"
    )


def test_without_recovery_the_headline_gives_scores_and_the_lead_says_why() -> None:
    record = comparison(("dfa",), seeds=(0,), epochs=1)
    record["rows"][0]["score_mean"] = 0.9512
    page = report.render(record)
    assert headline(page) == "Test accuracy on digits-mlp: DFA 95.1%"
    assert "it needs a finished run of backprop and frozen" in lead(page)


def test_a_backprop_that_gains_nothing_is_said_so() -> None:
    record = with_rows(
        backprop={"score_mean": 0.9, "recovery": None},
        dfa={"recovery": None},
        frozen={"score_mean": 0.92, "recovery": None},
    )
    assert "Backprop gains nothing over frozen here" in lead(report.render(record))


def test_controls_costs_and_noise_are_in_the_lead() -> None:
    record = with_rows(
        backprop={"score_mean": 0.98, "score_std": 0.001, "step_ratio": 1.02},
        dfa={"score_std": 0.02, "step_ratio": 0.76},
        frozen={"score_mean": 0.90, "score_std": 0.001, "step_ratio": 0.4},
    )
    text = lead(report.render(record))
    assert "backprop reaches 98.0% test accuracy" in text
    assert "with frozen hidden layers 90.0%" in text
    assert "takes 0.76× the time of plain PyTorch backprop with DFA and 0.40× with frozen." in text
    assert "vary by up to ±2.0 points" in text
    assert "only 8.0 points apart" in text
    record["rows"][1]["score_std"] = 0.002
    assert "vary by" not in lead(report.render(record))


def test_the_table_has_the_figures_of_every_row() -> None:
    record = with_rows(
        dfa={
            "score_mean": 0.96849,
            "score_interval": [0.96489, 0.97209],
            "recovery": 0.914,
            "alignment": 0.357,
            "step_seconds": 0.000684,
            "step_ratio": 0.761,
            "step_quartiles": [0.744, 0.8],
            "memory_bytes": 3.9 * 2**20,
            "memory_ratio": 0.984,
            "train_seconds": 0.798,
        },
        frozen=dict.fromkeys(["alignment", "step_ratio", "step_seconds", "step_quartiles"]),
    )
    head, backprop, dfa, frozen = table(report.render(record), "Results by rule")
    assert head[0] == "Rule"
    assert head[-1] == "Runs"
    assert backprop[0] == "backprop"
    assert dfa == [
        "DFA Direct feedback alignment",
        "96.8%",
        "± 0.4",
        "91%",
        "0.36",
        "–",
        "0.76× 0.684 ms 0.74–0.80×",
        "0.98× 3.90 MiB",
        "0.80 s",
        "3 of 3",
    ]
    assert head[4:8] == ["Alignment", "Isolated", "Step time", "Peak memory"]
    assert frozen[4:7] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [("resident", "memory of the whole process"), ("tensors", "memory of tensors"), (None, None)],
)
def test_the_caption_says_what_costs_are_relative_to(kind: str | None, told: str | None) -> None:
    record = with_rows()
    for row in record["rows"]:
        row.update(memory_kind=kind, plain_step_seconds=0.0012, plain_memory_bytes=3 * 2**20)
    text = section(report.render(record), "Results by rule").all("p", class_="caption")[0].text
    assert "relative to plain PyTorch backprop (1.20 ms, 3.00 MiB)" in text
    assert "the middle half" in text
    assert ("Memory is" in text) == (told is not None)
    assert (told or "") in text


def test_a_record_without_plain_figures_quartiles_and_kind_of_memory_is_shown() -> None:
    record = with_rows()
    for row in record["rows"]:
        for key in ("step_quartiles", "plain_step_seconds", "memory_kind", "plain_memory_bytes"):
            del row[key]
    page = report.render(record)
    assert table(page, "Results by rule")[2][6:8] == ["0.76× 0.684 ms", "0.98× 3.93 MiB"]
    assert "relative to plain PyTorch backprop. – means not measured" in page
    assert "the middle half" not in page


def test_scores_have_two_decimals_where_the_test_set_is_large() -> None:
    record = with_rows(dfa={"score_mean": 0.98123})
    record["task"]["test"] = 10_000
    assert table(report.render(record), "Results by rule")[2][1] == "98.12%"


def test_other_metrics_are_not_percentages() -> None:
    record = comparison(("backprop", "dfa", "frozen"), epochs=3, classes=())
    record["rows"][1]["score_mean"] = -1.25
    page = report.render(record)
    assert table(page, "Results by rule")[0][1] == "Test R²"
    assert table(page, "Results by rule")[2][1] == "−1.250"
    assert "not a classification" in section(page, "Results by class").text


def test_diverged_and_failed_runs_are_named_with_their_reasons() -> None:
    runs = [run(rule, seed, epochs=8) for rule in ("backprop", "dfa") for seed in (0, 1, 2)]
    diverge(runs[3], epoch=4)
    runs[4].update(status="failed", reason="the disk was full", test=None, curve=[])
    page = report.render(compare(runs))
    assert table(page, "Results by rule")[2][-1] == "1 finished, 1 diverged, 1 failed"
    (lost,) = read(page).all("details", class_="failures")
    summary = "Of 6 runs, 2 did not finish: 1 diverged and 1 failed with DFA"
    assert lost.all("summary")[0].text == summary
    assert "open" not in lost.attributes
    assert "figures come from the one that finished" in lost.text
    assert "seed 1: failed: the disk was full" in lost.text
    every = table(page, "All runs")
    assert every[4][-1] == f"diverged {runs[3]['reason']}"
    assert every[4][2:4] == ["–", "4"]
    assert every[5][-1] == "failed the disk was full"
    assert every[6][-1] == "finished"
    assert "A cross ends the line" in section(page, "Learning curves").text


def test_a_rule_without_a_finished_run_keeps_its_line() -> None:
    runs = [run("dfa", seed, epochs=3) for seed in (0, 1)]
    for each in runs:
        diverge(each, epoch=2)
    record = compare(runs)
    record["rows"][0].update(step_ratio=None, step_quartiles=None)
    page = report.render(record)
    assert headline(page) == "No run on digits-mlp finished"
    assert table(page, "Results by rule")[1] == [
        *[
            "DFA Direct feedback alignment",
            "–",
            "",
            "–",
            "–",
            "–",
            "– 0.684 ms",
            "0.98× 3.93 MiB",
            "0.80 s",
        ],
        "2 diverged",
    ]
    assert section(page, "Learning curves").all("svg", role="img")
    for title in ("Accuracy against cost", "Alignment with the true gradient", "Results by class"):
        assert not section(page, title).all("svg")
        assert section(page, title).all("p", class_="missing")


def test_the_caption_says_what_error_bars_are() -> None:
    shown = section(report.render(realistic()), "Accuracy against cost")
    assert "Error bars show the ± of the table." in shown.text


def test_frozen_is_not_drawn_among_alignments_and_backprop_only_alone() -> None:
    shown = section(report.render(comparison(epochs=2)), "Alignment with the true gradient")
    labels = [svg.attributes["aria-label"] or "" for svg in shown.all("svg", role="img")]
    assert [label.split(" at the")[0] for label in labels] == [
        "Alignment under FA",
        "Alignment under DFA",
        "Alignment under DRTP",
    ]
    assert "Frozen does not train hidden blocks, so it has no figure." in shown.text
    assert "There is no figure" not in shown.text
    record = comparison(("backprop", "fa", "linear", "pepita"), epochs=2)
    for each in record["runs"]:
        if each["rule"]["name"] in ("linear", "pepita"):
            for point in each["curve"]:
                point["alignment"] = {}
    text = section(report.render(record), "Alignment with the true gradient").text
    assert "The linear model has no hidden blocks, so it has no figure." in text
    assert (
        "There is no figure for pepita, because the alignment of hidden blocks was not recorded."
        in text
    )
    alone = report.render(comparison(("backprop",), epochs=2))
    assert "Alignment under backprop" in alone


def test_the_alignment_of_each_block_is_told() -> None:
    record = comparison(("dfa",), seeds=(0, 1), epochs=1, blocks=("stem", "head"))
    for each, value in zip(record["runs"], (0.25, 0.35), strict=True):
        each["curve"][-1]["alignment"] = {"stem": value, "head": 1.0}
    shown = section(report.render(record), "Alignment with the true gradient")
    label = shown.all("svg", role="img")[0].attributes["aria-label"]
    assert label == "Alignment under DFA at the last epoch: block stem 0.30, block head 1.00"


def test_class_by_class_accuracies_are_summed_over_seeds() -> None:
    record = comparison(("backprop", "dfa"), seeds=(0, 1), epochs=1, classes=("cat", "dog"))
    tables = [[[9, 1], [5, 5]], [[10, 0], [0, 10]], [[8, 2], [2, 8]], [[8, 2], [3, 7]]]
    for each, confusion in zip(record["runs"], tables, strict=True):
        each["test"]["confusion"] = confusion
    page = report.render(record)
    assert table(page, "Accuracy by class") == [
        ["Class", "backprop", "DFA", "Examples"],
        ["cat", "95.0", "80.0", "10"],
        ["dog", "75.0", "75.0", "10"],
    ]
    assert table(page, "Confusion matrix of backprop") == [
        ["", "cat", "dog"],
        ["cat", "19", "1"],
        ["dog", "5", "15"],
    ]
    grid = read(page).all("table", class_="grid")[0].all("td")
    tints = {cell.text: cell.attributes.get("style") for cell in grid}
    # The worst class of all is tinted fully, the others in proportion to their errors.
    assert tints["75.0"] == "--tint: 1.000"
    assert tints["95.0"] == "--tint: 0.200"


def test_of_many_classes_the_hardest_are_shown() -> None:
    names = tuple(f"class {i}" for i in range(30))
    record = comparison(("dfa",), seeds=(0,), epochs=1, classes=names)
    matrix = [[100 * (i == j) for j in range(30)] for i in range(30)]
    for hard in range(5, 25):
        matrix[hard][hard], matrix[hard][0] = 90, 10
    record["runs"][0]["test"]["confusion"] = matrix
    page = report.render(record)
    shown = [row[0] for row in table(page, "Accuracy by class")[1:]]
    assert shown == [f"class {i}" for i in range(5, 25)]
    assert not read(page).all("table", class_="confusion")
    assert "20 hardest of 30 classes" in page


def test_classes_without_names_are_numbered() -> None:
    record = comparison(("dfa",), seeds=(0,), epochs=1)
    record["task"]["classes"] = []
    assert table(report.render(record), "Accuracy by class")[4][0] == "3"


def test_what_was_run_is_told_in_full() -> None:
    record = realistic()
    record["provenance"]["commit"] = "0123abcd-dirty"
    record["tuning"]["chosen"]["dfa"] = 0.003
    page = report.render(record)
    told = facts(page)
    assert told["Task"] == "digits-mlp"
    assert told["Data"] == "scikit-learn digits"
    assert told["Examples"] == "1,257 training, 180 validation and 360 test"
    assert told["Seeds"] == "0, 1 and 2"
    assert told["Each run"].startswith("30 epochs, 1,200 steps, batches of 32; the test examples")
    assert told["Learning rates"].startswith(
        "every rule tried 0.0003, 0.001 and 0.003 for 5 epochs with seed 1000"
    )
    assert told["Command"] == "beyondprop compare --task digits-mlp --seeds '[0, 1, 2]'"
    assert told["Started"] == "2026-01-01 10:00 UTC, took 98.0 s"
    assert told["Versions"] == "beyondprop 0.1.0, torch 2.13.0+cpu, python 3.11.7"
    assert told["Source commit"] == "0123abcd-dirty"
    assert "2 cores, 2 threads, 23.4 GiB memory" in told["Machine"]
    tuning = table(page, "Tuning")
    assert tuning[0] == ["Learning rate", "0.0003", "0.001", "0.003"]
    assert [row[0] for row in tuning[1:]] == ["backprop", "FA", "DFA", "DRTP", "frozen"]
    assert tuning[1][2] == "97.9% (chosen)"
    assert tuning[3][3].endswith("(chosen)")
    assert "The rate chosen for DFA lies at the edge" in page
    assert len(table(page, "All runs")) == 16
    folded = [details.text for details in section(page, "Setup").all("details")]
    assert "DFA dfa attached to Sequential block 1 block 3 block 5 block 7" in folded


def test_augmented_examples_are_told() -> None:
    record = comparison(("dfa",), seeds=(0,), epochs=1)
    record["task"]["augmented"] = True
    told = facts(report.render(record))["Examples"]
    assert told == "1,257 training (augmented), 180 validation and 360 test"


def test_a_rate_that_was_not_tuned_is_told() -> None:
    record = comparison(("dfa",), seeds=(0,), epochs=1)
    record["tuning"] = {"epochs": 1, "learning_rates": [0.001], "trials": [], "chosen": {}}
    page = report.render(record)
    assert facts(page)["Learning rates"] == "0.001, not tuned"
    assert "Tuning" not in [heading.text for heading in read(page).all("h3")]


def test_terms_are_explained_to_those_who_never_saw_them() -> None:
    terms = read(report.render(realistic())).all("section", id="terms")[0]
    explained = {term.text for term in terms.all("dt")}
    assert {
        "Backprop",
        "Frozen",
        "Recovery",
        "Alignment with the true gradient",
        "On what each block's update depends",
        "Block",
        "Step time",
        "Seed",
    } <= explained
    assert all(len(text.text) > 60 for text in terms.all("dd"))


def small() -> Record:
    return comparison(("backprop", "dfa", "frozen"), seeds=(0, 1), epochs=3)


@pytest.fixture(scope="module")
def unchanged() -> str:
    return report.render(small())


def changed(path: str, value: Any) -> Record:
    record = small()
    *way, last = path.split(".")
    place: Any = record
    for key in way:
        place = place[int(key) if isinstance(place, list) else key]
    last_key = int(last) if isinstance(place, list) else last
    assert place[last_key] != value
    place[last_key] = value
    return record


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("task.data", "other digits"),
        ("task.test", 361),
        ("rows.1.score_mean", 0.5),
        ("rows.1.score_std", 0.5),
        ("rows.1.recovery", 0.5),
        ("rows.1.alignment", 0.5),
        ("rows.1.step_ratio", 0.5),
        ("rows.1.step_quartiles", [0.5, 0.6]),
        ("rows.0.plain_step_seconds", 0.5),
        ("rows.0.plain_memory_bytes", 5e5),
        ("rows.1.memory_ratio", 0.5),
        ("rows.1.memory_bytes", 5e5),
        ("rows.1.train_seconds", 50.0),
        ("runs.2.curve.2.validation_score", 0.5),
        ("runs.2.curve.2.alignment.3", -0.5),
        ("runs.2.curve.2.seconds", 5.0),
        ("runs.2.test.score", 0.5),
        ("runs.2.test.confusion.3.4", 17),
        ("runs.2.learning_rate", 0.5),
        ("runs.2.trained_parameters", 12),
        ("runs.2.rule.report", "nothing was attached"),
        ("tuning.trials.3.validation_score", 0.5),
        ("provenance.versions.torch", "2.99"),
        ("provenance.hardware.cpu", "another processor"),
    ],
)
def test_a_figure_changed_in_the_record_changes_the_page(
    path: str, value: Any, unchanged: str
) -> None:
    assert report.render(changed(path, value)) != unchanged
