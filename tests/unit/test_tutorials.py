"""The tutorials run, keep to what is public, and become pages with what they printed and drew."""

import ast
import importlib
import importlib.util
import re
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tutorials"
TUTORIALS = sorted(path.stem for path in FOLDER.glob("*.py"))
PLAIN = "own_rule"
SECONDS = 120
"""The most processor time that a tutorial may take: two minutes on one core."""

pytest.importorskip("matplotlib")
tutorials = pytest.mark.parametrize("name", TUTORIALS)

SMALL = """\
# %% [markdown]
# # A title
#
# Text, and a [link](other.py).

# %%
import matplotlib.pyplot as plt

print("a word")

# %%
figure, axes = plt.subplots()
axes.plot([1, 2], [3, 4])
axes.set_title("A line")
plt.show()
"""


def loaded(name: str) -> ModuleType:
    """Return a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    """The script that runs tutorials and writes their pages."""
    return loaded("notebooks")


def text_of(notebooks: ModuleType, name: str) -> list[str]:
    """The cells of text of a tutorial."""
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    return [cell.text for cell in notebooks.cells(source) if not cell.is_code]


def test_a_page_holds_text_code_what_was_printed_and_pictures(
    notebooks: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    made = notebooks.page(path)
    order = ["# A title", "(other.md)", "```python\nimport matplotlib", "\n\na word\n```", "<svg"]
    places = [made.index(part) for part in order]
    assert places == sorted(places)
    assert 'aria-label="A line"' in made
    assert "\n\n" not in made[made.index("<figure class") : made.index("</figure>")]
    assert "(small.py)" in made


def test_a_page_is_made_again_when_its_file_changes(notebooks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    assert not notebooks.is_current(path)
    notebooks.write([path])
    assert notebooks.is_current(path)
    path.write_text(SMALL.replace("a word", "two words"))
    assert not notebooks.is_current(path)


def test_a_cell_that_fails_is_named_by_its_line(notebooks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("# %% [markdown]\n# Text\n\n# %%\nprint(1)\n\nraise ValueError('no')\n")
    with pytest.raises(ValueError, match="no") as caught:
        notebooks.page(path)
    assert "wrong.py, line 7" in caught.value.__notes__[0]


def test_a_picture_that_is_not_shown_is_an_error(notebooks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "hidden.py"
    path.write_text(SMALL.replace("plt.show()", ""))
    with pytest.raises(ValueError, match=r"not shown: plt\.show"):
        notebooks.page(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name",
    [name if name == PLAIN else pytest.param(name, marks=pytest.mark.slow) for name in TUTORIALS],
)
def test_tutorial_runs(
    name: str, notebooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEYONDPROP_DATA", raising=False)  # only data that is part of the package
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    with torch.random.fork_rng():
        made = notebooks.page(FOLDER / f"{name}.py")
    assert time.process_time() - started < SECONDS
    assert ":class: output" in made
    assert "<svg" in made
    assert not list(tmp_path.iterdir())  # it leaves nothing behind


@tutorials
def test_text_begins_with_a_title_and_ends_with_what_to_try_next(
    name: str, notebooks: ModuleType
) -> None:
    first, *_, last = text_of(notebooks, name)
    assert re.match(r"# \w", first)
    assert re.search(r"^## What to try next\n\n- ", last, re.M)


@tutorials
def test_claims_are_asserted(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 3


@tutorials
def test_links_lead_somewhere(name: str, notebooks: ModuleType) -> None:
    text = "\n".join(text_of(notebooks, name))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = FOLDER / path
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.M)
        slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert not anchor or anchor in slugs, target


@tutorials
def test_only_what_is_public_is_used(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
            assert not node.attr.startswith("_"), node.attr
        if isinstance(node, ast.ImportFrom) and node.module and "beyondprop" in node.module:
            public = getattr(importlib.import_module(node.module), "__all__", None)
            for each in node.names:
                assert not re.search(r"(^|\.)_", f"{node.module}.{each.name}"), each.name
                assert public is None or node.module == "beyondprop" or each.name in public


def test_the_site_and_the_map_have_all_of_them() -> None:
    shown = loaded("conf").CONTENTS["Tutorials"] if importlib.util.find_spec("sphinx") else None
    assert shown is None or sorted(shown) == [f"tutorials/{name}" for name in TUTORIALS]
    linked = re.findall(r"\(\.\./tutorials/(\w+)\.py\)", (ROOT / "docs/index.md").read_text())
    assert sorted(linked) == TUTORIALS
