"""The examples run as they stand, and what their page says of them holds."""

import importlib
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from protocols.errors import InputError

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*_across_*.py"))


@pytest.fixture(scope="module")
def examples():
    """Every example's module and what it found, run once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        modules = {name: importlib.import_module(name) for name in NAMES}
        yield {name: (module, module.run()) for name, module in modules.items()}
    for name in (*NAMES, "side_by_side"):
        sys.modules.pop(name, None)


def shown(name):
    """The cells of the table that the page shows of an example."""
    section = (EXAMPLES / "README.md").read_text(encoding="utf-8").split(f"]({name}.py)")[1]
    lines = [line for line in section.split("![")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_the_table_that_the_example_prints(name, examples):
    _, found = examples[name]
    heading, _, *rows = shown(name)
    assert tuple(heading[1:]) == found.models
    assert tuple(row[0] for row in rows) == found.rows
    for row in rows:
        told = [float(cell.split(" ± ")[0]) for cell in row[1:]]
        assert told == pytest.approx([found.mean(row[0], one) for one in found.models], abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_federated_equals_pooled_in_every_digit(name, examples):
    _, found = examples[name]
    columns = [found.models.index(one) for one in ("federated", "pooled")]
    assert np.ptp(found.values[..., columns], axis=-1).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_the_picture_that_the_example_draws(name, examples):
    _, found = examples[name]
    picture = EXAMPLES.parent / "images" / f"example-{name.replace('_', '-')}.svg"
    drawn = ET.fromstring(found.chart())  # noqa: S314 - our own text
    kept = ET.fromstring(picture.read_text(encoding="utf-8"))  # noqa: S314 - the same
    words = [
        [one.text for one in each.iter() if one.text and one.text.strip()] for each in (drawn, kept)
    ]
    assert words[0] == words[1]
    # One in the legend, and one in each row.
    circles = len([one for one in kept.iter() if one.tag.endswith("circle")])
    assert circles == len(found.models) * (1 + len(found.rows))


def gain(found, row):
    return found.mean(row, "federated") - found.mean(row, "local-only")


def test_small_banks_gain_and_the_large_one_does_not(examples):
    _, found = examples["credit_across_banks"]
    assert abs(gain(found, "metropolitan")) < 0.005
    assert max(gain(found, bank) for bank in ("valley", "harbour")) < 0.005
    assert min(gain(found, bank) for bank in ("crown", "garden", "island", "miners")) > 0.02
    assert gain(found, "village") > 0.1


def test_a_bank_that_wrote_ages_in_months_is_told_at_home(examples):
    module, _ = examples["credit_across_banks"]
    rows, _ = module.split(0)
    spoilt = rows["union"].features * np.where(np.array(module.AGREED.names) == "age", 12, 1)
    bad = module.Data(spoilt, rows["union"].labels, module.AGREED.names)
    lead = module.Federation("credit", list(rows), privacy=None)
    with pytest.raises(InputError, match=r"^union: .*'age' holds values outside"):
        module.FederatedLogisticRegression().fit(lead, {**rows, "union": bad}, schema=module.AGREED)


def test_one_model_for_all_hospitals_ties_and_intercepts_and_strangers_gain(examples):
    _, found = examples["heart_across_hospitals"]
    tie = found.deviation("one model for all", "local-only")
    assert abs(gain(found, "one model for all")) < tie
    assert gain(found, "an intercept for each") > 0.01
    assert gain(found, "a hospital outside") > 0.01
    better = found.values[:, found.rows.index("a hospital outside"), :2]
    assert (better[:, 1] > better[:, 0]).mean() >= 0.75


def test_small_shops_gain_and_the_chain_does_not(examples):
    _, found = examples["recommendations_across_shops"]
    assert abs(gain(found, "chain")) < 0.01
    assert min(gain(found, shop) for shop in ("anna", "ben", "cora")) > 0.02
    assert 0 <= gain(found, "dan") < 0.02


def test_an_example_prints_its_table_and_draws_when_it_is_asked(
    examples, monkeypatch, capsys, tmp_path
):
    module, found = examples["recommendations_across_shops"]
    file = tmp_path / "shops.svg"
    monkeypatch.setattr(sys, "argv", ["example", "--svg", str(file)])
    module.main(module.__doc__, lambda: found, module.NOTES)
    printed = capsys.readouterr().out
    assert re.search(r"^\| chain \| 0\.3", printed, flags=re.MULTILINE)
    assert module.NOTES[0] in printed
    assert file.read_text(encoding="utf-8") == found.chart()
