"""Run the tutorials and write their pages: `python docs/notebooks.py`, or `make notebooks`.

A tutorial is a Python file of cells in the percent format, which editors and Jupyter open as a
notebook: `# %%` begins a cell of code, `# %% [markdown]` a cell of text, in comments. Its page is
next to it and contains the text, the code, the output, and each picture that `plt.show()` showed.
Names after the command run only these tutorials; `--stale` runs those whose page was not made from
the current file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import linecache
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from beyondprop.report.figures.panel import page_style
from beyondprop.report.svg import inline

FOLDER = Path(__file__).parents[1] / "tutorials"
CELL = re.compile(r"^# %%(.*)\n", re.M)
STYLE = """<style>
.output pre { border-left: 3px solid var(--color-brand-primary); background: none; }
figure.shown { --muted: var(--color-foreground-secondary); --sans: inherit;
  --line: var(--color-background-border); color: var(--color-foreground-primary); margin: 1em 0; }
figure.shown svg { max-width: 100%; height: auto; }
</style>"""
"""How pages set apart what was printed, and which of the site's colours pictures take."""


@dataclass(frozen=True)
class Cell:
    """A cell: its text or code, and how many lines of the file come before it."""

    is_code: bool
    text: str
    line: int


def cells(source: str) -> list[Cell]:
    """Return the cells of a tutorial, text without its comment signs."""
    marks = list(CELL.finditer(source))
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    found = []
    for mark, end in zip(marks, ends, strict=True):
        is_code = mark[1].strip() != "[markdown]"
        text = source[mark.end() : end]
        text = text if is_code else re.sub(r"^# ?", "", text, flags=re.M)
        found.append(Cell(is_code, text.rstrip("\n"), source.count("\n", 0, mark.end())))
    return found


def page(path: Path) -> str:
    """Run a tutorial and return its page.

    Raises:
        Exception: What a cell raised, noted with the tutorial's name and the line.
    """
    source = path.read_text("utf-8")
    linecache.cache[str(path)] = (len(source), None, source.splitlines(keepends=True), str(path))
    namespace: dict[str, object] = {"__name__": "__main__"}
    parts = [mark_of(path), STYLE]
    with pictures(path.stem) as take:
        for cell in cells(source):
            if cell.is_code:
                printed = run(cell, path, namespace)
                parts.append(f"```python\n{cell.text}\n```")
                parts += [fenced(printed)] if printed else []
                parts += take()
            else:
                parts.append(re.sub(r"(\]\(\w+)\.py\)", r"\1.md)", cell.text))
    parts.append(f"The file: [{path.name}]({path.name}), a notebook in the percent format.")
    return "\n\n".join([*parts, ""])


def run(cell: Cell, path: Path, namespace: dict[str, object]) -> str:
    """Run a cell and return what it printed."""
    code = compile("\n" * cell.line + cell.text, str(path), "exec")
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
    except Exception as error:
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__)]
        error.add_note(
            f"in {path.name}, line {lines[1]}; printed until then:\n{printed.getvalue()}"
        )
        raise
    return printed.getvalue().strip("\n")


@contextlib.contextmanager
def pictures(name: str) -> Iterator[Callable[[], list[str]]]:
    """Yield a function that returns the pictures shown since it was called last, as HTML.

    `plt.show()` takes the figures that are open and closes them. One that is left open is an error.
    """
    with page_style():
        import matplotlib as mpl
        from matplotlib import pyplot as plt

        mpl.use("svg")
        shown: list[str] = []
        count = 0

        def show() -> None:
            nonlocal count
            for number in plt.get_fignums():
                count += 1
                figure = plt.figure(number)
                label = "; ".join(filter(None, (axes.get_title() for axes in figure.axes)))
                svg = inline(figure, f"{name.replace('_', '-')}-{count}", label or name)
                shown.append(f'<figure class="shown">{svg}</figure>')
                plt.close(figure)

        def take() -> list[str]:
            if left := plt.get_fignums():
                plt.close("all")
                raise ValueError(f"{name}: figures {left} were drawn and not shown: plt.show()")
            taken = shown.copy()
            shown.clear()
            return taken

        with mock.patch.object(plt, "show", show):
            yield take


def fenced(printed: str) -> str:
    """Return what was printed as a block of its own."""
    return f"```{{code-block}} text\n:class: output\n\n{printed}\n```"


def mark_of(path: Path) -> str:
    """Return the line that says what a page was made from: a comment with a digest."""
    digest = hashlib.sha256(path.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    return f"<!-- made of {path.name}, {digest[:16]} -->"


def is_current(path: Path) -> bool:
    """Return whether a tutorial's page was made from its current file."""
    made = path.with_suffix(".md")
    return made.exists() and made.read_text("utf-8").startswith(mark_of(path))


def write(paths: list[Path]) -> None:
    """Run tutorials and write their pages next to them."""
    for path in paths:
        print(f"running {path.name}", file=sys.stderr)
        path.with_suffix(".md").write_text(page(path), "utf-8")


def main(arguments: list[str]) -> None:
    """Write the pages of the tutorials named, of those that are stale, or of all."""
    every = sorted(FOLDER.glob("*.py"))
    if arguments == ["--stale"]:
        write([path for path in every if not is_current(path)])
    else:
        write([FOLDER / f"{name}.py" for name in arguments] or every)


if __name__ == "__main__":
    main(sys.argv[1:])
