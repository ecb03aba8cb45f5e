import re
from pathlib import Path

import numpy as np

from securefed.learning import models, registry

PAGE = Path(__file__).parent.parent / "docs" / "tasks.md"


def test_the_page_on_tasks_runs_as_it_stands(capsys, monkeypatch):
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    monkeypatch.setattr(models, "_MODELS", dict(models._MODELS))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    names = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - the documentation is the test
    assert names["federated"].done
    assert names["gap"] < 1e-6
    np.testing.assert_allclose(names["pooled"].state["coefficients"], names["truth"], atol=0.2)
    assert names["body"].keys() == names["risk"].initial_state().keys()
    assert set(names["full"]) - set(names["body"]) == {"model.2.bias"}
    assert "done: True" in capsys.readouterr().out


def test_the_complete_example_class_takes_fewer_than_forty_lines():
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL).group(1)
    assert len([line for line in block.splitlines() if line.strip()]) < 40
