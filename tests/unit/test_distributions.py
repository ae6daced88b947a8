"""The wheel and the source distribution hold what they should, and work where no checkout is."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

from beyondprop import __version__

pytest.importorskip("hatchling", reason="needs the extra dev")

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/beyondprop"
NOTICES = ("tasks/digits.NOTICE.txt", "tasks/fashion_small.NOTICE.txt")
NEEDED = {
    *("py.typed", "__init__.pyi", "experiment/__init__.pyi", "jobs/__init__.pyi"),
    *("tasks/digits.csv.gz", "tasks/fashion_small.idx.gz", *NOTICES),
    *("report/rules.json", "report/templates/page.html.jinja"),
    *("report/templates/page.js", "report/templates/style.css"),
}
"""What is no module and yet part of the library: types, lazy names, data, the report's page."""

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
} | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def done(arguments: Sequence[str | Path], folder: Path) -> str:
    """Return what a command printed that ended well in a folder."""
    ended = subprocess.run(
        arguments, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("built")
    done([sys.executable, "-m", "hatchling", "build", "-d", folder], ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"beyondprop-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    return built / f"beyondprop-{__version__}.tar.gz"


def in_package() -> set[str]:
    """The files of the package in the checkout, without what Python and people leave there."""
    found = (path for path in PACKAGE.rglob("*") if path.is_file())
    kept = (path for path in found if "__pycache__" not in path.parts)
    return {path.relative_to(PACKAGE).as_posix() for path in kept}


def test_the_wheel_is_the_package_and_nothing_else(wheel: Path) -> None:
    names = [PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()]
    information = f"beyondprop-{__version__}.dist-info"
    assert {name.parts[0] for name in names} == {"beyondprop", information}
    packed = {str(name.relative_to("beyondprop")) for name in names if name.parts[0] != information}
    assert packed == in_package()
    assert packed >= NEEDED


def test_the_wheel_names_its_command_and_holds_its_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        information = f"beyondprop-{__version__}.dist-info"
        commands = archive.read(f"{information}/entry_points.txt").decode()
        told = Parser().parsestr(archive.read(f"{information}/METADATA").decode())
        licences = {
            name.removeprefix(f"{information}/licenses/")
            for name in archive.namelist()
            if "/licenses/" in name
        }
    assert "beyondprop = beyondprop.cli:main" in commands
    assert licences == {"LICENSE", *(f"src/beyondprop/{name}" for name in NOTICES)}
    assert told["License-Expression"] == "Apache-2.0"
    assert told.get_all("License-File") == sorted(licences)


def test_the_source_distribution_has_what_the_wheel_is_built_from(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()]
    packed = {str(each.relative_to("src/beyondprop")) for each in names if each.parts[0] == "src"}
    assert packed == in_package()
    assert {each.name for each in names if len(each.parts) == 1} == {
        *("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"),
        *("pyproject.toml", "PKG-INFO", ".gitignore"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_installed_works_without_a_checkout(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In a fresh environment whose dependencies are those of this one: nothing is downloaded."""
    venv.create(tmp_path / "venv")
    scheme = {"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    commands = Path(sysconfig.get_path("scripts", "venv", scheme))
    (site / "dependencies.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("-packages"))
    )
    python = commands / Path(sys.executable).name
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps"]
    distribution = request.getfixturevalue(kind)
    done([*install, "--no-build-isolation", "--ignore-installed", distribution], tmp_path)

    empty = tmp_path / "empty"
    empty.mkdir()
    where = "import beyondprop; print(beyondprop.__file__, beyondprop.__version__)"
    assert done([python, "-c", where], empty).split() == [
        str(site / "beyondprop/__init__.py"),
        __version__,
    ]
    beyondprop = commands / "beyondprop"
    assert __version__ in done([beyondprop, "--version"], empty)
    assert "dfa" in done([beyondprop, "list"], empty)
    small = ["--rules", "dfa", "--seeds", "0", "--epochs", "1", "--no-measure-cost"]
    done([beyondprop, "compare", "--task", "digits-mlp", *small, "--output", "out"], empty)
    assert "<html" in (empty / "out/report.html").read_text("utf-8")
