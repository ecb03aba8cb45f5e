"""The tables that the learning benchmark writes have their places, and only theirs."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("learning_tables.report")


def sections():
    tree = ast.parse((ROOT / "benchmarks" / "learning.py").read_text(encoding="utf-8"))
    [table] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.target.id == "SECTIONS"
    ]
    return [key.value for key in table.keys]


def test_every_table_of_the_page_is_one_that_the_script_makes(report):
    placed = re.findall(r"^<!-- learning: ([\w-]+) -->$", PAGE, flags=re.MULTILINE)
    assert placed
    assert set(placed) <= set(sections())
    assert len(set(placed)) == len(placed)
    assert PAGE.count(report.END) == 1


def test_a_new_table_changes_nothing_outside_its_marks(report):
    [first, last] = report.marks("heart")
    changed = report.replace_table(PAGE, "heart", "| new |")
    assert changed.split(first)[0] == PAGE.split(first)[0]
    assert changed.split(last)[1] == PAGE.split(last)[1]
    assert changed.split(first)[1].split(last)[0] == "\n| new |\n"
    assert report.replace_table(changed, "heart", "| new |") == changed


def test_a_table_without_a_place_is_put_at_the_end_of_the_section(report):
    changed = report.replace_table(PAGE, "poems", "| new |")
    assert changed.replace("**Poems.**\n\n<!-- learning: poems -->\n| new |\n"
                           "<!-- end of learning: poems -->\n\n", "") == PAGE  # fmt: skip
    with pytest.raises(SystemExit, match="no section"):
        report.replace_table("# A page", "poems", "| new |")


def test_a_cell_is_mean_and_deviation_and_a_missing_figure_is_empty(report):
    table = report.Table("model", {"AUC": 2, "rounds": 0})
    table.add([("a", {"AUC": 0.5, "rounds": 7}), ("b", {"AUC": 0.25})])
    table.add([("a", {"AUC": 0.7, "rounds": 9})])
    assert str(table).splitlines() == [
        "| model | AUC | rounds |",
        "| --- | --- | --- |",
        "| a | 0.60 ± 0.10 | 8 ± 1 |",
        "| b | 0.25 |  |",
    ]
