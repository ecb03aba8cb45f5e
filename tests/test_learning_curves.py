import json
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from parties.coordinator.progress import RoundRecord
from protocols.errors import JournalError, MisuseError
from securefed import Federation
from securefed.data import Data
from securefed.learning import FederatedLinearRegression, histories
from securefed.learning.curves import history
from securefed.run_files import write_histories

RECORDS = (
    RoundRecord(1, "net", 1, "completed", metrics={"rows": 9.0}),
    RoundRecord(2, "net", 2, "completed", metrics={"loss": 0.7, "validation_loss": 0.8}),
    RoundRecord(3, "net", 3, "aborted", step="submit", reason="too few"),
    RoundRecord(4, "net", 4, "completed", metrics={"loss": 0.5, "validation_loss": 0.6}),
    RoundRecord(5, "sum", 1, "completed"),
)


def table(seed, rows=30):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 2))
    return Data(features, features @ [1.0, -2.0] + 0.1 * rng.normal(size=rows))


def drawn(svg):
    """Lines of a picture, each as its points, and all of its texts."""
    root = ET.fromstring(svg)  # noqa: S314 - our own picture
    space = "{http://www.w3.org/2000/svg}"
    paths = [p.get("d") for p in root.iter(f"{space}path") if "line" in p.get("class")]
    lines = [re.findall(r"[\d.]+ [\d.]+", path) for path in paths if path != "M0 6H24"]
    return lines, [text.text for text in root.iter(f"{space}text")], root


def test_a_history_has_one_value_of_every_metric_for_every_round_with_a_sum():
    found = histories(RECORDS)
    assert list(found) == ["net", "sum"]
    assert found["net"].rounds == [1, 2, 4]
    assert found["net"].metrics == {
        "rows": [9.0, None, None],
        "loss": [None, 0.7, 0.5],
        "validation_loss": [None, 0.8, 0.6],
    }
    assert found["net"].points("loss") == [(2, 0.7), (4, 0.5)]
    assert found["sum"].rounds == [1]
    assert found["sum"].metrics == {}
    assert json.loads(found["net"].to_json()) == found["net"].to_plain()


def test_unknown_tasks_and_metrics_are_named():
    with pytest.raises(MisuseError, match="no round of a task 'nett'; there are: net, sum"):
        history(RECORDS, "nett")
    with pytest.raises(MisuseError, match="no metric 'auc'; there are: rows, loss"):
        history(RECORDS, "net").points("auc")
    with pytest.raises(MisuseError, match="task sum tells no metric"):
        history(RECORDS, "sum").svg()


def test_the_picture_shows_both_losses_in_one_chart_and_a_lone_value_as_a_dot(tmp_path):
    history(RECORDS, "net").write_svg(tmp_path / "net.svg")
    lines, texts, root = drawn((tmp_path / "net.svg").read_text())
    assert {"losses", "rows", "loss", "validation_loss"} <= set(texts)
    assert [len(line) for line in lines] == [2, 2, 1]
    (loss, validation) = (
        [tuple(map(float, point.split())) for point in line] for line in lines[:2]
    )
    assert loss[0][0] == validation[0][0] < loss[1][0]
    # Higher values lie further up, at lower places.
    assert validation[0][1] < loss[0][1] < loss[1][1]
    assert sum(1 for each in root.iter() if each.tag.endswith("circle")) == 1
    assert "loss: 0.7 in round 2, 0.5 in round 4, lowest 0.5 in round 4." in "".join(
        root.itertext()
    )


@pytest.mark.parametrize("values", [[0.0, 0.0], [-3.0, -3.0], [1e-12, 1e12], [5.0]])
def test_any_finite_values_can_be_drawn(values):
    records = [
        RoundRecord(number, "t", number, "completed", metrics={"a<b": value})
        for number, value in enumerate(values, start=1)
    ]
    lines, texts, _ = drawn(history(records, "t").svg())
    assert [len(line) for line in lines] == [len(values)]
    assert "a<b" in texts


def test_a_run_leaves_a_history_of_every_task_and_a_curve_where_there_is_one(tmp_path):
    write_histories(tmp_path / "out", RECORDS)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["net.curve.svg", "net.history.json", "sum.history.json"]
    assert json.loads((tmp_path / "out" / "net.history.json").read_text())["rounds"] == [1, 2, 4]
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="choose another --out"):
        write_histories(tmp_path / "file", RECORDS)


def test_estimators_and_simulations_have_the_same_history_as_the_plain_fit():
    lead = Federation("curves", ["north", "south", "west"], privacy=None)
    parts = {name: table(seed) for seed, name in enumerate(lead.parties)}
    federated = FederatedLinearRegression().fit(lead, parts)
    plain = FederatedLinearRegression().fit_plain(list(parts.values()))
    named = histories(federated.records_)
    assert named.keys() == histories(plain.records_).keys()
    for task, found in named.items():
        same = histories(plain.records_)[task]
        assert found.rounds == same.rounds
        assert found.metrics.keys() == same.metrics.keys()
        for name in found.metrics:
            here, there = (np.array(each.points(name)) for each in (found, same))
            np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-9)
    assert len(federated.records_) == federated.n_rounds_ > 0
    FederatedLinearRegression().add_to(lead, "line", features=2)
    result = lead.simulate(parts)
    assert result.history("line").rounds == named[next(iter(named))].rounds
    with pytest.raises(MisuseError, match="there are: line"):
        result.history("lien")
