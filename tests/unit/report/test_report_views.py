"""Pictures of views in the report."""

from typing import Any

from html_tree import Element, read
from report_records import comparison, measured

from beyondprop import report
from beyondprop.measure import ViewsMeasure

PICTURE = "iVBORw0KGgo="


def with_views(rules: tuple[str, ...] = ("backprop", "dfa")) -> dict[str, Any]:
    record = measured(comparison(rules, seeds=(0, 1), epochs=1))
    described = ViewsMeasure().description().json()
    record["measures"]["views"] = described
    for each in record["runs"]:
        pictures = {"rendered": [PICTURE] * 2, "true": [PICTURE] * 2}
        each["measures"]["views"] = described | {
            "values": {"view_psnr": 21.5, "view_ssim": 0.8},
            "details": {"psnr": [20.25, 22.75], "ssim": [0.7, 0.9], **pictures},
        }
    return record


def section(record: dict[str, Any]) -> Element | None:
    sections = read(report.render(record)).all("section")
    return next((s for s in sections if s.children[0].text == ViewsMeasure.title), None)


def test_each_view_is_a_row_with_the_true_one_first() -> None:
    shown = section(with_views())
    assert shown is not None
    first, second = shown.all("svg", role="img")
    assert first.attributes["aria-label"] == "View 1: true, backprop, DFA"
    assert [text.text for text in second.all("text")] == [
        *("true", ""),
        *("backprop", "22.75 dB"),
        *("DFA", "22.75 dB"),
    ]
    tips = [each.attributes["data-tip"] for each in second.all("rect", class_="tip")]
    assert tips == ["View 2, true", "View 2, backprop: 22.75 dB", "View 2, DFA: 22.75 dB"]
    links = [each.attributes["href"] for each in first.all("image")]
    assert links == [f"data:image/png;base64,{PICTURE}"] * 3


def test_nothing_but_pictures_is_put_into_the_page() -> None:
    record = with_views()
    for each in record["runs"]:
        each["measures"]["views"]["details"]["rendered"] = ['"><script>alert(1)</script>']
    assert section(record) is None
    assert report.render(record).count("<script>") == 1  # the page's own


def test_without_views_there_is_no_such_section() -> None:
    assert section(comparison(epochs=1)) is None
