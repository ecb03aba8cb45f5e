import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import BaseModel

from protocols.agreement import Task as AgreedTask
from protocols.encoding import FixedPoint
from protocols.errors import AgreementError, MisuseError
from securefed.learning import build_task, check_task, register_task, suggest
from securefed.learning.demo import NEURAL_NETWORK, RISK_SCORE
from securefed.learning.evaluation import predict_proba


@dataclass
class Agreed:
    kind: str = "glm-logistic"
    name: str = "risk"
    dimension: int = 51
    bound: float = 1.0
    scale: float = 2.0**40
    parameters: dict = field(default_factory=lambda: {"features": 2})


def test_an_unknown_kind_or_parameter_names_the_key_and_the_nearest_match():
    for kind, parameters, key, remedy in (
        ("glm-logistics", {}, "tasks.risk.kind", "did you mean 'glm-logistic'?"),
        ("x", {}, "tasks.risk.kind", "choose one of bpr, column-moments, "),
        ("glm-logistic", {"features": 2, "rigde": 1.0}, "rigde", "did you mean 'ridge'?"),
        ("glm-logistic", {}, "features", "add it"),
        ("glm-logistic", {"features": 0}, "features", "correct the value"),
        ("glm-logistic", {"features": "2"}, "features", "correct the value"),
        ("glm-logistic", {"features": True}, "features", "correct the value"),
        ("glm-logistic", {"features": 2, "ridge": 0.0}, "ridge", "correct the value"),
        ("glm-logistic", {"features": 2, "ridge": float("nan")}, "ridge", "correct the value"),
        ("torch", {"features": 2, "hidden": [0]}, "hidden.0", "correct the value"),
        ("torch", {"features": 2, "hidden": [1.0]}, "hidden.0", "correct the value"),
        ("torch", {"features": 2, "server": "sgd"}, "server", "correct the value"),
        ("torch", {"features": 2, "model": "none"}, "model", "logistic, mlp"),
    ):
        with pytest.raises(AgreementError) as caught:
            build_task(kind, parameters, name="risk")
        assert caught.value.key.startswith("tasks.risk.")
        assert caught.value.key.endswith(key)
        assert remedy in caught.value.remedy


def test_several_wrong_parameters_are_counted():
    with pytest.raises(AgreementError, match="and 1 more problems"):
        build_task("glm-logistic", {"features": 2, "ridge": -1.0, "tolerance": -1.0})


def test_integers_are_taken_where_reals_are_expected_and_lists_where_tuples_are():
    assert build_task("glm-logistic", {"features": 2, "ridge": 1}).parameters.ridge == 1.0
    assert build_task("torch", {"features": 2, "hidden": [3, 4]}).parameters.hidden == (3, 4)


def test_a_wrong_dimension_says_the_right_one():
    right = suggest("glm-logistic", {"features": 2}, 5).dimension
    check_task(Agreed(dimension=right))
    with pytest.raises(AgreementError) as caught:
        check_task(Agreed(dimension=right + 1))
    assert caught.value.key == "tasks.risk.dimension"
    assert caught.value.remedy == f"set dimension = {right}"


def test_a_bound_or_scale_that_the_task_cannot_use_is_refused():
    dimension = suggest("glm-logistic", {"features": 2}, 5).dimension
    for change, key in (
        ({"bound": 0.5}, "bound"),
        ({"scale": 1e10}, "scale"),
        ({"scale": 2.0**10}, "scale"),
    ):
        with pytest.raises(AgreementError) as caught:
            check_task(Agreed(dimension=dimension, **change))
        assert caught.value.key == f"tasks.risk.{key}"


@pytest.mark.parametrize("parties", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("demo", [RISK_SCORE, NEURAL_NETWORK])
def test_a_suggested_ring_holds_the_sum_and_passes_the_check(parties, demo):
    ring = suggest(demo.kind, demo.parameters, parties)
    FixedPoint(ring.modulus_bits, ring.scale, ring.bound, parties)
    agreed = AgreedTask(
        name=demo.name,
        kind=demo.kind,
        rounds=demo.rounds,
        dimension=ring.dimension,
        bound=ring.bound,
        scale=ring.scale,
        modulus_bits=ring.modulus_bits,
        rounding=ring.rounding,
        parameters=dict(demo.parameters) | {"hidden": [16]}
        if "hidden" in demo.parameters
        else dict(demo.parameters),
    )
    check_task(agreed)


def test_what_no_ring_holds_is_refused():
    with pytest.raises(AgreementError, match="lower max_rows or the clip bounds"):
        suggest("torch", {"features": 2, "clip_norm": 1e6}, 5)
    with pytest.raises(AgreementError, match="raise the ridge"):
        suggest("glm-logistic", {"features": 2, "ridge": 1e-6, "max_rows": 10**9}, 5)


def test_a_kind_is_registered_once():
    with pytest.raises(MisuseError, match="registered already"):
        register_task("torch", BaseModel, lambda _: None)


def test_a_task_that_predicts_nothing_says_so():
    class Silent:
        kind = "silent"

    with pytest.raises(MisuseError, match="'silent' do not predict"):
        predict_proba(Silent(), {}, np.zeros((1, 1)))


BASE_INSTALL = """
import sys
sys.modules["torch"] = sys.modules["sklearn"] = None  # as if neither was installed
import securefed.data, securefed.learning, securefed.learning.evaluation
from protocols.errors import MisuseError
from securefed.learning import build_task
from securefed.learning.torch_parameters import limit_threads
limit_threads(1)
for kind in ("glm-logistic", "dp-logistic", "dp-glm"):
    build_task(kind, {"features": 2}).initial_state()
for call, extra in (
    (lambda: build_task("torch", {"features": 2}), 'pip install "securefed[torch]"'),
    (lambda: build_task("dp-torch", {"features": 2}), 'pip install "securefed[torch]"'),
    (securefed.data.load_breast_cancer, 'pip install "securefed[demo]"'),
):
    try:
        call()
    except MisuseError as error:
        assert extra in str(error), error
    else:
        raise SystemExit("no error")
"""


def test_the_base_install_needs_neither_torch_nor_scikit_learn():
    subprocess.run([sys.executable, "-c", BASE_INSTALL], check=True)


def test_importing_the_learning_package_does_not_load_torch():
    code = (
        "import sys, securefed.learning, securefed.data, securefed.learning.reference\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
