"""What people rely on without reading code: a light import, commands, versions, docstrings."""

import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, BUILD = SETTINGS["project"], SETTINGS["build-system"]
PUBLIC = ("", ".rules", ".projections", ".tasks", ".measure", ".experiment", ".report", ".errors")


def modules_after(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_it_loads_nothing_that_torch_has_not_loaded() -> None:
    new = modules_after("import torch, beyondprop") - modules_after("import torch")
    others = {name.partition(".")[0] for name in new} - sys.stdlib_module_names
    assert others == {"beyondprop"}
    assert not {f"beyondprop.{part}" for part in ("experiment", "report", "tasks", "cli")} & new


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def texts_with_commands() -> list[Path]:
    named = ("README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows/ci.yml")
    return [*(ROOT / name for name in named), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("path", texts_with_commands(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_command_that_is_written_exists(path: Path) -> None:
    written = set(re.findall(r"(?:^|`|run: )make ([a-z][a-z-]*)", path.read_text(), re.MULTILINE))
    assert written <= make_targets()


def test_the_two_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in ("compare", "test"):
        assert re.search(rf"^make {target}\b", readme, re.MULTILINE)
        assert target in make_targets()


def test_the_build_back_end_is_pinned() -> None:
    """It runs code where the project is installed, and outside `make` no lock reaches it."""
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", each) for each in BUILD["requires"])


def test_actions_of_workflows_are_pinned_by_commit() -> None:
    """A tag can be moved to other code by whoever owns the action."""
    workflows = [*ROOT.glob(".github/workflows/*.y*ml")]
    used = [use for each in workflows for use in re.findall(r"uses: *(.*)", each.read_text())]
    assert used
    for use in used:
        assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v[\d.]+", use), use


def test_every_mirror_is_by_https() -> None:
    sources = [path.read_text() for path in ROOT.glob("src/**/*.py")]
    assert any('"https://' in text for text in sources)
    assert not [url for text in sources for url in re.findall(r"[\"']http://[^\"']+", text)]


def test_ci_runs_what_developers_run() -> None:
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("make test")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in steps


def test_one_version_everywhere() -> None:
    cite = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## .*?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert {cite["version"], newest[1], importlib.import_module("beyondprop").__version__} == {
        PROJECT["version"]
    }
    assert cite["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def requirements(lines: list[str]) -> list[Requirement]:
    """The packages that these lines name, an extra of the project by what it holds."""
    found = []
    for requirement in map(Requirement, lines):
        if requirement.name == PROJECT["name"]:
            for extra in sorted(requirement.extras):
                found += requirements(PROJECT["optional-dependencies"][extra])
        else:
            found.append(requirement)
    return found


def locked(name: str) -> dict[str, set[str]]:
    """Hashes by pin (`name==version`, with its marker) of a lock."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pairs = [line.split(" --hash=") for line in lines]
    return {pin.strip(): {each.strip() for each in hashes} for pin, *hashes in pairs}


def pins(name: str) -> dict[str, set[Version]]:
    """Versions by package; some are for one platform or Python alone."""
    found: dict[str, set[Version]] = {}
    for pin in map(Requirement, locked(name)):
        version = Version(str(pin.specifier).removeprefix("=="))
        found.setdefault(canonicalize_name(pin.name), set()).add(version)
    return found


LOCKS = {"compare.lock": ["report"], "test.lock": ["dev"], "docs.lock": ["docs"]}
LOCKS["all.lock"] = ["all"]  # for users and the image, not for `make`
LOCKS["test-all.lock"] = list(PROJECT["optional-dependencies"])
locks = pytest.mark.parametrize("lock", LOCKS)
TORCH = Requirement((ROOT / "requirements/torch.txt").read_text().strip())


@locks
def test_a_lock_is_pins_with_hashes_and_nothing_else(lock: str) -> None:
    """No index, no path, no range: pip installs these bytes or refuses."""
    for pin, hashes in locked(lock).items():
        assert re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+( ; .+)?", pin)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pin


@locks
def test_a_lock_has_what_its_command_needs(lock: str) -> None:
    wanted = [*PROJECT["dependencies"], *BUILD["requires"]]
    wanted += [f"{PROJECT['name']}[{extra}]" for extra in LOCKS[lock]]
    wanted += [each for each in metadata.requires("torch") or () if "extra ==" not in each]
    of_cuda = ("cuda", "nvidia", "triton", "pytorch-triton")
    found = pins(lock)
    for each in requirements(wanted):
        if each.name == "torch":
            assert str(TORCH.specifier).removeprefix("==") in each.specifier
        elif not each.name.startswith(of_cuda):
            assert found[canonicalize_name(each.name)], each
            assert all(version in each.specifier for version in found[canonicalize_name(each.name)])


@locks
def test_a_lock_leaves_builds_for_cuda_to_pytorch(lock: str) -> None:
    apart = ("torch==", "torchvision==", "triton", "cuda", "nvidia")
    assert not [pin for pin in locked(lock) if pin.startswith(apart)]


@locks
def test_locks_agree(lock: str) -> None:
    assert locked(lock).items() <= locked("test-all.lock").items()


def test_every_install_is_by_a_lock() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"^\t\$\(INSTALL\) (.*)$", makefile, re.MULTILINE)
    assert installs == [
        "--require-hashes --no-deps --only-binary :all: -r $<",
        "-r requirements/torch.txt",
        "--no-deps --no-build-isolation -e .",
    ]
    named = {f"{stem}.lock" for stem in re.findall(r"\$\(VENV\)/\.([a-z-]+)\b", makefile)}
    assert named == set(LOCKS) - {"all.lock"}
    assert set(LOCKS) == {each.name for each in ROOT.glob("requirements/*.lock")}


def documented(thing: object) -> bool:
    text = inspect.getdoc(thing) or ""
    generated = f"{getattr(thing, '__name__', '')}("  # what @dataclass writes if there is none
    return bool(text) and not text.startswith(generated)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_docstrings(name: str) -> None:
    module = importlib.import_module(f"beyondprop{name}")
    assert documented(module)
    for public in getattr(module, "__all__", ["UserError"]):
        thing = getattr(module, public)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert documented(thing), public
        if inspect.isclass(thing):
            methods = {k: v for k, v in vars(thing).items() if k[0] != "_" and callable(v)}
            assert [k for k in methods if not documented(getattr(thing, k))] == [], public
