"""The documentation site: `make docs` builds it into build/site.

Pages are the Markdown files that people also read in the repository, so the source is its root and
the README the first page, which gets the contents below. One page of the reference is written for
each public module, from its docstrings; tutorials that have no page yet are run.
"""

import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib.metadata import version as installed
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

ROOT = Path(__file__).parents[1]
API = ROOT / "docs/api"
CONTENTS = {
    "Begin": (
        *("docs/start", "docs/install", "docs/choosing", "docs/index", "docs/claims", "docs/faq"),
    ),
    "Tutorials": (
        *("tutorials/own_loop", "tutorials/own_rule", "tutorials/transformer"),
        *("tutorials/flat_memory", "tutorials/slot_machines", "tutorials/optical_feedback"),
        *("tutorials/distil_pieces", "tutorials/several_modalities", "tutorials/audit_run"),
    ),
    "Guides": (
        *("docs/attach", "docs/models", "docs/schedules", "docs/slots", "docs/projections"),
        *("docs/optics", "docs/random-features", "docs/neighbourhoods", "docs/modalities"),
        *("docs/continual", "docs/audit", "docs/experiments", "docs/own-task", "docs/own-data"),
        *("docs/integrations", "docs/export", "docs/reliability", "docs/extending"),
    ),
    "Rules": ("docs/rules/*",),
    "Networks": (
        *("docs/networks", "docs/vision", "docs/language", "docs/graphs", "docs/recommenders"),
        *("docs/views", "docs/scale"),
    ),
    "Measuring": ("docs/honest-comparison", "docs/measures", "docs/audit/*"),
    "Results": ("docs/leaderboard", "results/README", "results/*/README", "benchmarks/README"),
    "Reference": ("docs/api/*",),
    "Project": ("docs/architecture", "docs/glossary", "CONTRIBUTING", "SECURITY", "CHANGELOG"),
}
"""The pages of the site, as patterns, under the headings of its sidebar."""
LEADERBOARD, ROOM = "docs/leaderboard", "<!-- leaderboard -->"
"""The page of the leaderboard, and where on it the table goes."""
SETTINGS = "results/comparisons"
"""Where the repository and the site have the settings of comparisons."""

sys.path.insert(0, str(ROOT))  # for `benchmarks`

project = "BeyondProp"
copyright = "the BeyondProp developers"
version = release = installed("beyondprop")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = [
    *("README.md", "docs/**.md", "docs/api/*.rst", "results/**.md", "benchmarks/README.md"),
    *("tutorials/*.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
]
html_theme = "furo"
html_title = "BeyondProp"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
# Links to records, scripts and pictures lead to the files, which the site carries along.
suppress_warnings = ["toc.not_included"]  # tables next to records are reached by links alone
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
napoleon_use_rtype = False
nitpicky = False


def public_modules() -> list[str]:
    """Return the names of the modules that say what is public of them."""
    package = importlib.import_module("beyondprop")
    found = ["beyondprop"]
    for each in pkgutil.walk_packages(package.__path__, "beyondprop."):
        inner = any(part.startswith("_") for part in each.name.split("."))
        if each.ispkg and not inner and hasattr(importlib.import_module(each.name), "__all__"):
            found.append(each.name)
    return found


def homes(modules: list[str]) -> dict[int, str]:
    """Return by an object's identity the module whose page documents it: of several that give it,
    the most deeply nested one.
    """
    found: dict[int, str] = {}
    for name in sorted(modules, key=lambda name: -name.count(".")):
        module = importlib.import_module(name)
        for member in module.__all__:
            found.setdefault(id(getattr(module, member)), name)
    return found


def write_reference(_: Sphinx) -> None:
    """Write one page for each public module."""
    API.mkdir(parents=True, exist_ok=True)
    modules = public_modules()
    places = homes(modules)
    for name in modules:
        page, made = API / f"{name}.rst", reference(name, places)
        if not page.exists() or page.read_text("utf-8") != made:
            page.write_text(made, "utf-8")


def reference(name: str, places: dict[int, str]) -> str:
    """Return a module's page: what it documents, and links to what pages of others do."""
    module = importlib.import_module(name)
    where = {member: places[id(getattr(module, member))] for member in module.__all__}
    own = [member for member, home in where.items() if home == name]
    links = [link(member, home) for member, home in where.items() if home != name]
    lines = [name, "=" * len(name), "", f".. automodule:: {name}", "   :imported-members:"]
    values = {each: getattr(module, each) for each in own if is_data(getattr(module, each))}
    documented = [each for each in own if each not in values]
    lines += [f"   :members: {', '.join(documented)}"] if documented else []
    for member, value in values.items():
        lines += ["", f".. py:data:: {name}.{member}", ""]
        lines += [f"   {line}" for line in described(member, value)]
    lines += ["", f"It also gives {', '.join(links)}."] if links else []
    return "\n".join([*lines, ""])


def is_data(value: object) -> bool:
    """Return whether a name's value is data, which autodoc leaves out where it is imported."""
    return not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value))


def described(member: str, value: object) -> list[str]:
    """Return the docstring of a constant, from the module that defines it."""
    for name in sorted(sys.modules):
        if name.startswith("beyondprop") and getattr(sys.modules[name], member, None) is value:
            found = ModuleAnalyzer.for_module(name).find_attr_docs().get(("", member))
            if found:
                return list(found)
    return []


def link(member: str, home: str) -> str:
    """Return a link to a name on the page of another module, or to that module's page."""
    module = f"{home}.{member}"
    target = f"/docs/api/{module if module in sys.modules else home}"
    return f":doc:`{member} <{target}>`"


def run_tutorials(_: Sphinx) -> None:
    """Run the tutorials whose pages are missing or were made from another text."""
    subprocess.run([sys.executable, str(ROOT / "docs/notebooks.py"), "--stale"], check=True)


def lead_to_pages(_: Sphinx, page: str, source: list[str]) -> None:
    """Let links to a tutorial's file, which the repository has, lead to its page."""
    if not page.startswith("tutorials/"):
        source[0] = re.sub(r"(\]\([./]*tutorials/\w+)\.py\)", r"\1.md)", source[0])


def add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page the contents of the site."""
    if page == root_doc:
        for head, pages in CONTENTS.items():
            options = (f":caption: {head}", ":hidden:", ":glob:")
            source[0] += "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""])


def add_leaderboard(_: Sphinx, page: str, source: list[str]) -> None:
    """Put the leaderboard, made from the records, where its page has room for it."""
    if page == LEADERBOARD:
        from benchmarks.pages.leaderboard import embedded  # reads every recorded comparison

        made = embedded(docs="./", settings=f"../{SETTINGS}/")
        source[0] = source[0].replace(ROOM, "\n".join(["```{raw} html", made, "```"]))


def write_index(app: Sphinx, problem: Exception | None) -> None:
    """Let the site's folder open at the first page, and give it the settings of comparisons."""
    if problem is None and app.builder.format == "html":
        for settings in (ROOT / SETTINGS).glob("*.yaml"):
            to = Path(app.outdir, SETTINGS, settings.name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(settings, to)
        to = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">'
        (Path(app.outdir) / "index.html").write_text(f"<!doctype html>{to}\n", "utf-8")


def setup(app: Sphinx) -> None:
    """Write the reference and the tutorials' pages before pages are read."""
    app.connect("builder-inited", write_reference)
    app.connect("builder-inited", run_tutorials)
    app.connect("source-read", lead_to_pages)
    app.connect("source-read", add_contents)
    app.connect("source-read", add_leaderboard)
    app.connect("build-finished", write_index)
