"""The README of the benchmarks lists every command, and the record that it writes by default."""

import importlib
import inspect
import re

import pytest

from benchmarks.common.records import ROOT

README = (ROOT / "benchmarks/README.md").read_text("utf-8")
COMMANDS = re.findall(r"^\| `python -m (\S+)(?: [A-Z]+)?` \| ", README, re.M)
ROWS = re.findall(r"^\| `python -m (\S+)` \| `([\w/-]+\.json)` \|", README, re.M)


def test_every_command_is_listed() -> None:
    files = [p for p in ROOT.glob("benchmarks/*/*.py") if "__main__" in p.read_text("utf-8")]
    assert {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files} == set(COMMANDS)


@pytest.mark.parametrize(("module", "record"), ROWS)
def test_the_record_is_the_default_output(module: str, record: str) -> None:
    main = importlib.import_module(module).main
    if "DATA_SET" in record:
        assert f"results/{record}" in main.__doc__
        return
    assert inspect.signature(main).parameters["output"].default.as_posix() == f"results/{record}"


def test_nothing_lies_flat() -> None:
    assert [path.name for path in ROOT.glob("benchmarks/*.py")] == ["__init__.py"]
    assert [path.name for path in ROOT.glob("results/*") if path.is_file()] == ["README.md"]
