from __future__ import annotations

import hashlib

import numpy as np
import pytest
from support.nodes import GLM, toy_data

from protocols.agreement import load_agreement, validate
from protocols.errors import AgreementError, MisuseError
from protocols.identity import Identity
from securefed.agreement_text import agreement_to_toml
from securefed.federation import Federation, MemberKeys
from securefed.learning.glm import coefficients
from securefed.learning.reference import fit_pooled
from securefed.resilience import Resilience


def keys(*names: str) -> dict[str, MemberKeys]:
    made = {}
    for name in names:
        raw = hashlib.sha256(name.encode()).digest()
        made[name] = MemberKeys(Identity(name, raw).public.raw.hex(), raw.hex())
    return made


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 13, 32, 33, 40, 100])
def test_the_defaults_of_any_number_of_parties_are_safe(n):
    parties = [f"party-{i}" for i in range(n)]
    lead = Federation("test", parties, privacy=None).add_task(
        "risk", "glm-logistic", rounds=5, features=4, max_rows=500
    )
    agreement = lead.agreement(keys("hub", *parties), coordinator="hub", address="localhost:1")
    validate(agreement)


def test_the_toml_text_of_an_agreement_reads_back_to_the_same_digest():
    lead = Federation("test", ["a", "b", "c"], privacy=None)
    lead.add_task("risk", "glm-logistic", rounds=5, features=4, max_rows=500, ridge=0.1)
    lead.add_task("net", "torch", rounds=7, features=4, max_rows=500, hidden=[8, 4], model="mlp")
    agreement = lead.agreement(keys("hub", "a", "b", "c"), coordinator="hub", address="localhost:1")
    assert load_agreement(agreement_to_toml(agreement)).digest() == agreement.digest()


def test_a_simulated_federation_computes_the_pooled_model_with_real_masks():
    data = toy_data(3)
    lead = Federation("test", list(data), privacy=None).add_task(
        "risk", "glm-logistic", rounds=15, **GLM["parameters"]
    )
    result = lead.simulate(data, seed=1)
    pooled = fit_pooled("glm-logistic", GLM["parameters"], list(data.values()), rounds=15)
    difference = coefficients(result.models["risk"]) - coefficients(pooled.state)
    assert np.abs(difference).max() < 1e-6
    assert result.score("risk", data["party-0"]).auc > 0.5
    assert result.privacy is None


def test_missing_keys_data_and_tasks_are_named():
    lead = Federation("test", ["a", "b"], privacy=None)
    with pytest.raises(MisuseError, match="at least one task"):
        lead.agreement(keys("hub", "a", "b"), coordinator="hub", address="localhost:1")
    lead.add_task("risk", "glm-logistic", rounds=5, features=4, max_rows=500)
    with pytest.raises(MisuseError, match="no keys of b"):
        lead.agreement(keys("hub", "a"), coordinator="hub", address="localhost:1")
    with pytest.raises(MisuseError, match="no data of b"):
        lead.simulate({"a": toy_data(1)["party-0"]})
    with pytest.raises(AgreementError, match="glm-logistic"):
        lead.add_task("other", "glm-logistics", rounds=5)


def test_a_larger_coalition_needs_a_larger_quorum_and_fewer_dropouts():
    few, many = (Resilience.for_parties(10, rounds=5, colluders=c) for c in (1, 4))
    assert few.max_dropouts > many.max_dropouts
    assert many.threshold > 4
    assert many.min_cohort >= few.min_cohort


def test_nobody_leaves_out_differential_privacy_without_saying_so():
    with pytest.raises(TypeError, match="privacy"):
        Federation("test", ["a", "b"])
    # Said once, in words that stand in the agreement and that every signer is warned of.
    lead = Federation("test", ["a", "b"], privacy=None)
    lead.add_task("risk", "glm-logistic", rounds=5, features=4, max_rows=500)
    plain = lead.draft(keys("hub", "a", "b"), coordinator="hub", address="localhost:1")
    assert plain["privacy"] == {"mechanism": "none", "accept_no_differential_privacy": True}
