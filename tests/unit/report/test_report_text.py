"""How numbers and lists are written."""

import pytest
from report_records import task

from beyondprop.measure import Column
from beyondprop.report import text
from beyondprop.report.read import read_run
from beyondprop.report.records import TaskFacts


def a_task(metric: str = "accuracy", test: float | None = 360) -> TaskFacts:
    return TaskFacts("t", "d", 1, 1, test, metric, ())


def test_scores() -> None:
    assert text.ScoreFormat.of(a_task()).full(0.97149) == "97.1%"
    assert text.ScoreFormat.of(a_task(test=10_000)).full(0.97149) == "97.15%"
    assert text.ScoreFormat.of(a_task(test=None)).full(1.0) == "100.0%"
    assert text.ScoreFormat.of(a_task("Top-5 accuracy")).bare(0.5) == "50.0"
    assert text.ScoreFormat.of(a_task("R²")).full(-0.25) == "−0.250"
    assert text.ScoreFormat.of(a_task()).full(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "–"),
        (0.0006123, "0.612 ms"),
        (0.0017, "1.70 ms"),
        (0.0996, "99.6 ms"),
        (0.09999, "100 ms"),
        (0.1, "0.10 s"),
        (1.05, "1.05 s"),
        (12.34, "12.3 s"),
        (99.9, "99.9 s"),
        (250, "4 min 10 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float | None, written: str) -> None:
    assert text.duration(seconds) == written


def test_numbers() -> None:
    assert text.percent(0.966) == "97%"
    assert text.percent(-0.031) == "−3%"
    assert text.percent(-0.001) == "0%"
    assert text.ratio(0.8449) == "0.84×"
    assert text.count(1234567) == "1,234,567"
    assert text.rate(0.00001) == "1e−05"
    assert text.size(3.5 * 2**20) == "3.50 MiB"
    assert text.size(33.3 * 2**20) == "33.3 MiB"
    assert text.size(3333 * 2**20) == "3,333 MiB"
    absent = [text.percent, text.ratio, text.count, text.rate, text.size]
    assert [write(None) for write in absent] == ["–"] * len(absent)


def test_measured_figures_are_written_as_their_columns_say() -> None:
    cosine, seconds = Column("a", "a"), Column("a", "a", unit="s")
    times, share = Column("a", "a", unit="×"), Column("a", "a", form=".1%")
    assert text.figure(cosine, -0.5) == "−0.50"
    assert text.figure(share, 0.1234) == "12.3%"
    assert text.figure(seconds, 0.0006123) == "0.612 ms"
    assert text.figure(Column("a", "a", unit="bytes"), 3.5 * 2**20) == "3.50 MiB"
    assert text.figure(times, [0.8249, 0.871]) == "0.82–0.87×"
    assert [text.figure(cosine, value) for value in (True, False, None)] == ["yes", "no", "–"]
    assert text.figure(times, [None, 0.8]) == text.figure(times, {}) == "–"


def test_words() -> None:
    assert text.plural(1, "run") == "1 run"
    assert text.plural(0, "run") == "0 runs"
    assert text.listing([]) == ""
    assert text.listing(["a"]) == "a"
    assert text.listing(["a", "b"]) == "a and b"
    assert text.listing(["a", "b", "c"]) == "a, b and c"
    assert [text.label(rule) for rule in ("dfa", "drtp", "local", "m:R")] == [
        "DFA",
        "DRTP",
        "local",
        "m:R",
    ]
    assert text.shorten("backbone.layers.11.mlp", 10) == "…rs.11.mlp"
    assert text.shorten("stem", 10) == "stem"


def test_a_run_is_read_with_nan_as_null() -> None:
    record = {
        "schema": 1,
        "kind": "run",
        "task": task(),
        "rule": {"name": "dfa"},
        "seed": 1,
        "status": "diverged",
        "learning_rate": float("inf"),
        "curve": [{"epoch": 0, "validation_score": float("nan"), "alignment": {"1": None}}],
        "test": None,
    }
    read, run = read_run(record)
    assert read.name == "digits-mlp"
    assert run.learning_rate is None
    assert run.curve[0].score is None
    assert run.curve[0].measures["alignment"].blocks == {"cosine": {"1": None}}
    assert not run.finished
