"""Tables in HTML, for notebooks."""

from collections.abc import Collection, Iterable, Sequence
from html import escape


def html_table(
    title: str,
    rows: Sequence[Sequence[str]],
    right: Collection[int] = (),
    notes: Iterable[str] = (),
) -> str:
    """Return rows of text as an HTML table without colours, so that it suits any notebook.

    Args:
        title: Caption above the table.
        rows: Cells, the same number in each row; the first row is the headings.
        right: Indices of the columns that are aligned to the right, as numbers should be.
        notes: Sentences below the table.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        sides = ("right" if i in right else "left" for i in range(len(cells)))
        shown = (
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
            for side, cell in zip(sides, cells, strict=True)
        )
        return f"<tr>{''.join(shown)}</tr>"

    caption = '<caption style="text-align: left; font-weight: bold; white-space: nowrap">'
    body = "".join(line(row, "td") for row in rows[1:])
    below = "".join(f"<div>{escape(note)}</div>" for note in notes)
    return (
        f'<div style="overflow-x: auto"><table>{caption}{escape(title)}</caption>'
        f"<thead>{line(rows[0], 'th')}</thead><tbody>{body}</tbody></table>{below}</div>"
    )
