"""Tables for notebooks."""

from xml.etree import ElementTree

from beyondprop.text import html_table


def test_a_table_is_well_formed_and_shows_texts_as_they_are() -> None:
    rows = [("block", "n"), ("<b>&", "1"), ("c", "22")]
    page = ElementTree.fromstring(html_table("a < b", rows, right={1}, notes=["1 < 2"]))
    assert page.findtext(".//caption") == "a < b"
    cells = [[cell.text for cell in row] for row in page.iter("tr")]
    assert cells == [list(row) for row in rows]
    sides = [cell.get("style") for cell in page.iter("td")]
    assert sides == ["text-align: left", "text-align: right"] * 2
    assert page.findtext("div") == "1 < 2"
