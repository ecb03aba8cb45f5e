import re
from pathlib import Path

from securefed.learning import registry
from securefed.learning.torch_parameters import limit_threads

limit_threads(1)

PAGE = Path(__file__).parent.parent / "docs" / "private-tasks.md"


def test_the_page_on_private_tasks_runs_as_it_stands(capsys, monkeypatch):
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    names = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - the documentation is the test
    assert abs(float(names["run"].fit.state["mean"]) - 45) < 1
    printed = capsys.readouterr().out
    assert "epsilon 7.99" in printed or "epsilon 8.000" in printed
    assert "mean age 4" in printed


def test_the_page_lists_every_parameter_of_every_private_kind():
    text = PAGE.read_text()
    for kind in ("dp-logistic", "dp-glm", "dp-torch"):
        assert f"**`{kind}`**" in text
        for name in registry._KINDS[kind].parameters.model_fields:
            assert f"`{name}`" in text, name
