"""The table of presets in the docs says what the presets are."""

from pathlib import Path

from beyondprop.optics import ideal, lighton_opu

PAGE = Path(__file__).parents[3] / "docs/optics.md"


def figures(device):
    """Return each part's kind and figures as the table shows them."""
    found = {}
    for part, values in device.settings().items():
        if isinstance(values, dict):
            kind = values.pop("part")
            if part in ("encoder", "retrieval"):
                found[part, ""] = kind
            found |= {(part, name): str(value) for name, value in values.items()}
    return found


def test_the_table():
    text = PAGE.read_text("utf-8").split("## The presets")[1].split("\n\n")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    for column, device in ((3, ideal()), (4, lighton_opu())):
        assert {(row[0], row[1]): row[column] for row in rows if row[column]} == figures(device)
