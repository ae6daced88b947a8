"""The documentation site: every page is in its contents, and it builds without a warning."""

import fnmatch
import html
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.browser import browser, needs_chromium

pytest.importorskip("sphinx")
pytest.importorskip("furo")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    """The site's settings."""
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs/conf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_contents(conf: ModuleType) -> None:
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("results/**/README.md"), *ROOT.glob("*.md")]
    named = [path.relative_to(ROOT).with_suffix("").as_posix() for path in pages]
    patterns = [pattern for tree in conf.CONTENTS.values() for pattern in tree]
    left = {
        name for name in named if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    }
    assert left == {"README"}


def test_a_name_is_documented_once_where_it_is_nested_deepest(conf: ModuleType) -> None:
    modules = conf.public_modules()
    places = conf.homes(modules)
    rules = importlib.import_module("beyondprop.rules")
    assert places[id(rules.PEPITA)] == "beyondprop.rules"
    page = conf.reference("beyondprop", places)
    assert ":doc:`PEPITA </docs/api/beyondprop.rules>`" in page
    assert not re.search(r":members:.*\bPEPITA\b", page)


def test_the_leaderboard_is_put_where_its_page_has_room(
    conf: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {}

    def embedded(**places: str) -> str:
        told.update(places)
        return "<table>made</table>"

    monkeypatch.setattr("benchmarks.pages.leaderboard.embedded", embedded)
    page = (ROOT / f"{conf.LEADERBOARD}.md").read_text("utf-8")
    source = [page]
    conf.add_leaderboard(None, "docs/start", source)
    assert source == [page]
    conf.add_leaderboard(None, conf.LEADERBOARD, source)
    assert "```{raw} html\n<table>made</table>\n```" in source[0]
    assert told == {"docs": "./", "settings": "../results/comparisons/"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    folders = ["-c", "docs", "-d", str(folder / "trees"), ".", str(folder / "site")]
    made = subprocess.run(
        [*command, *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return folder / "site"


@pytest.mark.slow
def test_the_site_has_every_public_name_and_the_settings_of_comparisons(
    site: Path, conf: ModuleType
) -> None:
    assert "README.html" in (site / "index.html").read_text("utf-8")
    board = (site / "docs" / "leaderboard.html").read_text("utf-8")
    settings = re.findall(r'href="\.\./(results/comparisons/[\w-]+\.yaml)"', board)
    assert settings
    assert all((site / each).exists() for each in settings)
    modules = conf.public_modules()
    for name in modules:
        text = (site / "docs" / "api" / f"{name}.html").read_text("utf-8")
        missing = [
            each
            for each in importlib.import_module(name).__all__
            if each != "__version__" and each not in html.unescape(text)
        ]
        assert not missing, name


BOTTOM = "Math.round(document.querySelector('article img').getBoundingClientRect().bottom)"
CODE = "Math.round(document.querySelector('article pre').getBoundingClientRect().top)"
LOOKED_AT = (
    *("README", "docs/start", "docs/attach", "docs/rules/direct-feedback-alignment"),
    *("docs/optics", "docs/modalities", "docs/audit", "docs/claims", "docs/leaderboard"),
    *("tutorials/optical_feedback", "docs/api/beyondprop.rules"),
)


@needs_chromium
@pytest.mark.slow
@pytest.mark.foreign
def test_the_first_screen_has_a_picture_and_code_and_pages_are_read_whole(
    site: Path, tmp_path: Path
) -> None:
    with browser(tmp_path / "browser") as page:
        page.open(site / "README.html", (1280, 800))
        assert 0 < page.told(BOTTOM) < page.told(CODE) < 700
        for name in LOOKED_AT:
            assert page.faults(site / f"{name}.html") == {}, name
