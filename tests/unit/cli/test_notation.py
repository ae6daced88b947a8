"""Bad configuration, from files and flags alike: one sentence, exit code 2, nothing done."""

from pathlib import Path

import pytest
import yaml

from beyondprop.cli import app
from beyondprop.cli.notation import read_yaml

DEEP = "{a: " * 3000 + "1" + "}" * 3000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-.5e3", -500.0),
        ("1.", 1.0),
        ("1_000", 1000),
        ("+3", 3),
        ("0x1f", 31),
        (".inf", float("inf")),
        ("010", "010"),
        ("2020-01-01", "2020-01-01"),
        ("my.module:task", "my.module:task"),
        ("1.5.2", "1.5.2"),
        ("~", None),
        ("[1, 2.5, a]", [1, 2.5, "a"]),
        ("{a, b}", "{a, b}"),
        ("{dense: }", {"dense": None}),
    ],
)
def test_scalars_mean_what_people_mean(text, value):
    assert read_yaml(text) == value
    assert type(read_yaml(text)) is type(value)


@pytest.mark.parametrize("text", ["1:30", "a: 1:30", "a: '1:30'", "[12:30:45.5]", "{1:30: a}"])
def test_no_number_to_the_base_of_sixty(text):
    with pytest.raises(yaml.YAMLError, match="is not read as a number: write it in decimals"):
        read_yaml(text)


@pytest.mark.parametrize("text", ["[" * 100_000, DEEP, "- " * 100_000 + "1", "9" * 5000])
def test_what_nobody_writes_is_refused_at_once(text):
    with pytest.raises(yaml.YAMLError, match=r"nested|thousands of digits"):
        read_yaml(text)


FILES = {
    "not UTF-8": (b"rule: caf\xe9", "must be text in UTF-8"),
    "UTF-16": ("rule: dfa".encode("utf-16"), "must be text in UTF-8"),
    "binary": (bytes(range(256)), "must be text in UTF-8"),
    "a long number": (b"seed: " + b"9" * 5000, "thousands of digits"),
    "a large number": (b"seed: " + b"9" * 400, "--seed must be between 0 and 2**63 - 1, not 999"),
    "brackets": (b"rule: " + b"[" * 100_000, "nested deeper than"),
    "deep arguments": (b"rule: " + b"{a: " * 40 + b"1" + b"}" * 40, "must be text or a mapping"),
    "sixties": (b"epochs: 1:30", "1:30 is not read as a number"),
    "quoted sixties": (b"epochs: '1:30'", "1:30 is not read as a number"),
    "half an epoch": (b"epochs: 1.5", "expects a whole number, not '1.5'"),
    "resume as text": (b"resume: 'false'", "resume must be true or false, not 'false'"),
    "resume as number": (b"resume: 1", "resume must be true or false, not 1"),
    "a path with a null": (b'output: "a\\0b"', "output must be a path"),
    "a list": (b"- 1", "Unexpected config"),
    "a class": (b"rule: !!python/object:os.system {}", "could not determine a constructor"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_told_in_one_sentence(name, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, said = FILES[name]
    (tmp_path / "settings.yaml").write_bytes(content)
    assert code(["train", "--task", "digits-mlp", "--config", "settings.yaml"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert len(told) < 500
    assert [each.name for each in tmp_path.iterdir()] == ["settings.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "1:30"], "1:30 is not read as a number"),
        (["--learning-rate=1:30"], "1:30 is not read as a number"),
        (["--epochs", "1.5"], "--epochs expects a whole number"),
        (["--seed", "9" * 5000], "digits"),
        (["--seed", "9" * 400], "--seed must be between 0 and 2**63 - 1, not 999"),
        (["--threads", "99999999"], "threads must be at most"),
        (["--rule", DEEP], "is written as its name"),
        (["--learning-rate", "9" * 5000], "--learning_rate expects a number, not '999"),
        (["--adversarial", "{epsilon: x}"], "beyondprop: --epsilon expects a number, not 'x'"),
        (["--resume=false"], "ignored explicit argument 'false'"),
    ],
)
def test_a_bad_flag_is_told_in_one_sentence(words, said, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert code(["train", "--task", "digits-mlp", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert len(told) < 500
    assert not any(tmp_path.iterdir())


def test_a_model_written_too_deeply_is_told(capsys):
    assert code(["check", DEEP]) == 2
    assert "nested deeper than" in capsys.readouterr().err


def code(words):
    """Return the exit code of a command."""
    try:
        return app.main(words)
    except SystemExit as end:
        return end.code
