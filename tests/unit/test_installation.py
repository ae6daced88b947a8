"""How the package and its extras are installed, and that everything says the same of it."""

import ast
import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from beyondprop.errors import install
from tests import fresh

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OF_DEVELOPERS = {"cluster", "models", "dev", "docs"}
"""Extras that `all` leaves out: several machines, and what only a checkout uses."""


FOLDERS = ("src", "docs", "examples", "tutorials", "benchmarks")


def texts(*kinds: str) -> dict[Path, str]:
    """What people read that names extras, by its file: in the root and in the folders."""
    globs = [f"{place}{kind}" for kind in kinds for place in ("", *(f"{n}/**/" for n in FOLDERS))]
    return {path: path.read_text("utf-8") for glob in globs for path in ROOT.glob(glob)}


def test_extras_are_installed_from_a_checkout_until_the_package_is_on_an_index() -> None:
    """Its name on an index could be anyone's."""
    assert install("report") == 'pip install ".[report]" in a checkout of BeyondProp'
    wrong = re.compile(r"""pip3? install ([^`\n]*[ '"])?beyondprop|beyondprop\[\w""")
    told = {"src/beyondprop/errors.py": 1, "CHANGELOG.md": 1}  # the form after the release; a bug
    found = {
        str(path.relative_to(ROOT)): len(wrong.findall(text))
        for path, text in texts("*.py", "*.md").items()
    }
    assert {name: count for name, count in found.items() if count} == told


def by_hand(code: str) -> list[str]:
    """The errors in code that say how an extra is installed without `errors.install`."""
    raised = [node.exc for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Raise)]
    said = [
        (ast.unparse(error), part.value)
        for error in raised
        if error is not None
        for part in ast.walk(error)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return [error for error, text in said if re.search(r"""pip install ['"]?\.""", text)]


def test_messages_name_extras_in_one_form() -> None:
    for path, text in texts("*.py").items():
        assert not by_hand(text), f"{path}: say it by errors.install"


def test_a_message_that_names_an_extra_by_hand_is_found_whatever_it_holds() -> None:
    told = "raise UserError(f'{shown(path)} (a file) needs Jinja2: pip install \".[report]\"')"
    assert by_hand(told)
    assert by_hand("raise ImportError(name(), 'pip install .[report]') from None")
    assert not by_hand("raise UserError(f'it needs Jinja2: {install(\"report\")}')")


def test_extras_that_are_named_exist() -> None:
    named = {
        extra
        for text in texts("*.py", "*.md").values()
        for group in re.findall(r"""\binstall\(['"](\w+)['"]\)|['"]\.\[([\w,]+)\]['"]""", text)
        for extra in "".join(group).split(",")
    }
    assert {"report", "data", "audit", "integrations", "onnx", "all"} <= named <= set(EXTRAS)


def test_all_holds_every_extra_that_a_user_can_need() -> None:
    (line,) = EXTRAS["all"]
    assert Requirement(line).extras == set(EXTRAS) - OF_DEVELOPERS - {"all"}


def installed_by(extra: str) -> set[str]:
    """The packages that an extra names, and the extras that it includes."""
    wanted = [Requirement(line) for line in EXTRAS[extra]]
    own = {each.name for each in wanted if each.name != PROJECT["name"]}
    return own.union(*(each.extras for each in wanted if each.name == PROJECT["name"]))


def test_the_table_of_extras_is_that_of_the_project() -> None:
    page = (ROOT / "docs/install.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.*?) *\|$", page, re.M)
    told = {extra: set(re.findall(r"`([\w-]+)`", packages)) for extra, packages in rows}
    assert told.pop("all") == set()  # 'all of the above'
    assert told == {extra: installed_by(extra) for extra in EXTRAS if extra != "all"}
    above = [extra for extra, _ in rows]
    assert set(above[: above.index("all")]) == set(EXTRAS) - OF_DEVELOPERS - {"all"}


CONDA = {
    "torch": ("pytorch",),
    "jsonargparse": ("jsonargparse", "docstring_parser", "typeshed-client"),
}
"""What conda-forge calls a requirement with its extras, where that is not its name."""


def read_yaml(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text("utf-8"))
    return found


def recipe() -> dict[str, Any]:
    """The recipe of the conda package."""
    return read_yaml("packaging/conda/recipe.yaml")


def test_the_conda_package_needs_what_the_project_needs() -> None:
    wanted = {f"python {PROJECT['requires-python']}"}
    for each in map(Requirement, PROJECT["dependencies"]):
        name, *beside = CONDA.get(each.name, (each.name,))
        wanted |= {f"{name} {each.specifier}", *beside}
    assert set(recipe()["requirements"]["run"]) == wanted


def test_the_conda_package_is_this_checkout() -> None:
    found = recipe()
    assert found["context"]["version"] == PROJECT["version"]
    assert (ROOT / "packaging/conda" / found["source"]["path"]).resolve() == ROOT
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert {line.replace("==", " ==") for line in build} < set(found["requirements"]["host"])
    assert "/output/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()  # where it is built
    about = found["about"]
    assert (about["summary"], about["license"]) == (PROJECT["description"], PROJECT["license"])
    licences = {str(path) for glob in PROJECT["license-files"] for path in ROOT.glob(glob)}
    assert {str(ROOT / name) for name in about["license_file"]} == licences
    (command,) = found["build"]["python"]["entry_points"]
    assert command.split(" = ") in map(list, PROJECT["scripts"].items())


def docker() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its words."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def in_context(name: str) -> bool:
    """Whether a file at the root goes to Docker; the last line of .dockerignore that fits tells."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(name, line.removeprefix("!")):
            kept = line.startswith("!")
    return kept


def test_the_image_is_made_of_what_there_is() -> None:
    copied = [name for kind, words in docker() if kind == "COPY" for name in words.split()[:-1]]
    assert {"pyproject.toml", "requirements", "src"} < set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert in_context(name)
    assert not in_context(".git")
    assert not in_context("tests")


def test_the_image_holds_the_pinned_versions() -> None:
    installs = [words for kind, words in docker() if kind == "RUN" and "pip install" in words]
    locked, torch, own = installs
    assert locked.endswith(
        "--require-hashes --no-deps --only-binary :all: -r requirements/all.lock"
    )
    assert torch.endswith("-r requirements/torch.txt")
    assert own.endswith("--no-deps --no-build-isolation .")
    (base,) = (words for kind, words in docker() if kind == "FROM")
    assert base == "python:3.11-slim"  # what the locks are made for


def test_the_image_is_the_command_and_not_root() -> None:
    instructions = docker()
    users = [words for kind, words in instructions if kind == "USER"]
    assert users
    assert users[-1] not in {"root", "0"}
    assert ("ENTRYPOINT", '["beyondprop"]') in instructions


def workflow() -> dict[str, Any]:
    """The workflow of the public forge."""
    return read_yaml(".github/workflows/ci.yml")


def test_the_workflow_runs_the_tests_on_every_system_and_python() -> None:
    matrix = workflow()["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["system"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    told = "Programming Language :: Python :: "
    classifiers = PROJECT["classifiers"]
    assert matrix["python"] == [each.removeprefix(told) for each in classifiers if told in each]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert "Operating System :: OS Independent" in classifiers


def test_windows_runs_what_make_runs() -> None:
    steps = workflow()["jobs"]["test"]["steps"]
    (by_hand,) = (step["run"] for step in steps if step.get("if") == "runner.os == 'Windows'")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    made = re.findall(r"\$\(BIN\)/python -m ((?:ruff|mypy).*)$", makefile, re.M)
    checks = [line for line in made if "--fix" not in line and line != "ruff format ."]
    installs = re.findall(r"^\t\$\(INSTALL\) (.*)$", makefile, re.M)
    *before, tests = by_hand.splitlines()
    assert [f"python -m {line}" for line in checks] == before[len(installs) :]
    for line, made in zip(before, installs, strict=False):
        assert line.startswith("python -m pip install ")
        assert line.endswith(made.replace("$<", "requirements/test.lock"))
    (marks,) = re.findall(r'-m pytest .*(-m "not .*?")', makefile)
    assert tests.endswith(marks)


def test_the_workflow_installs_as_the_page_says() -> None:
    jobs = workflow()["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    page = (ROOT / "docs/install.md").read_text("utf-8")
    for command in ("docker build -t beyondprop .", "rattler-build build --recipe packaging/conda"):
        assert command in page
        assert any(command in line for line in lines)


POSIX = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty")
"""Modules of Python that Windows lacks."""


def test_every_module_can_be_imported_where_windows_lacks_one() -> None:
    """What third parties import is loaded first: it is theirs to guard."""
    code = f"""
import importlib, pkgutil, sys
import beyondprop, joblib, rich, scipy.stats, torch.distributed, torch.profiler
for name in {POSIX}:
    sys.modules[name] = None
skipped = []
for each in pkgutil.walk_packages(beyondprop.__path__, "beyondprop."):
    try:
        importlib.import_module(each.name)
    except ImportError as error:
        skipped.append(f"{{each.name}}:{{error.name}}")
print(*skipped)
"""
    assert not [each for each in fresh.python("-c", code) if each.partition(":")[2] in POSIX]
