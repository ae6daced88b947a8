from benchmarks.common.records import RESULTS
from benchmarks.comparisons.published import STUDIES


def test_every_study_says_where_its_figures_are_and_is_beside_a_record() -> None:
    elsewhere = {"slots-mnist", "slots-cifar", "criteo", "wikitext-103"}
    records = {path.stem for path in RESULTS.glob("comparisons/*.json")}
    assert STUDIES.keys() - elsewhere <= records
    for studies in STUDIES.values():
        for study in studies:
            assert any(year in study.source for year in map(str, range(2016, 2027)))
            assert study.setting.endswith(".")
            assert all(len(row) == len(study.columns) for row in study.rows.values())


def test_cells_have_a_row_a_method() -> None:
    heads, rows = STUDIES["cifar-conv"][0].cells()
    assert heads == ("test error, %", "SGD with momentum", "Adam")
    assert rows[2] == ["dfa", "54.21", "37.59"]
