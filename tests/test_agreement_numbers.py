"""Which numbers may be agreed on: exactly the safe ones, and each refusal says what would do."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agreements import (
    changed,
    make_agreement,
    member,
    plain_agreement,
)

from protocols.agreement import (
    Aggregation,
    agreement_from,
    validate,
)
from protocols.agreement.counts import count_problems
from protocols.agreement.model import quorum_of
from protocols.agreement.neighbours import privacy_bits, recovery_bits, suggest_graph
from protocols.errors import AgreementError

# Which numbers are accepted


def rules(c: int, d: int, t: int, cohort: int, neighbours: int | str = "complete") -> Aggregation:
    return Aggregation.model_construct(
        mode="masking",
        colluders=c,
        max_dropouts=d,
        threshold=t,
        min_cohort=cohort,
        neighbours=neighbours,
        deadline_seconds=30.0,
        max_message_bytes=1 << 24,
    )


def safe(n: int, c: int, d: int, t: int, cohort: int) -> bool:
    quorum = (n + c) // 2 + 1
    holders = n - 1
    return (
        2 * quorum > n + c
        and quorum <= n - d
        and c + 1 <= t <= holders - d
        and max(2 + c, quorum) <= cohort <= n - d
    )


@pytest.mark.parametrize("n", range(2, 41))
def test_exactly_the_safe_numbers_are_accepted_for_every_number_of_parties(n: int) -> None:
    for c in range(n + 1):
        for d in range(n + 1):
            quorum = (n + c) // 2 + 1
            edges = {1, c, c + 1, n - 1 - d, n - d} if n > 12 else range(1, n + 1)
            for t in sorted(value for value in edges if value >= 1):
                cohorts = {2, c + 1, c + 2, quorum - 1, quorum, n - d, n - d + 1}
                for cohort in sorted(value for value in cohorts if value >= 2):
                    accepted = next(count_problems(n, rules(c, d, t, cohort), 1), None) is None
                    assert accepted == safe(n, c, d, t, cohort), (n, c, d, t, cohort)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whole_agreements_are_accepted_exactly_when_their_numbers_are_safe(
    data: st.DataObject,
) -> None:
    n = data.draw(st.integers(2, 40))
    c, d = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    quorum = (n + c) // 2 + 1
    t = data.draw(st.one_of(st.integers(1, n), st.sampled_from([c + 1, max(n - 1 - d, 1)])))
    cohort = data.draw(st.one_of(st.integers(2, n), st.just(max(quorum, 2))))
    plain = plain_agreement(
        n, colluders=c, max_dropouts=d, threshold=t, min_cohort=min(cohort, 1000)
    )
    if safe(n, c, d, t, cohort):
        agreement_from(plain)
        return
    with pytest.raises(AgreementError, match=r"set it .*\d") as caught:
        agreement_from(plain)
    assert caught.value.key in {
        "aggregation.colluders",
        "aggregation.max_dropouts",
        "aggregation.threshold",
        "aggregation.min_cohort",
    }


def test_three_parties_with_a_colluder_need_all_three_and_the_refusal_says_so() -> None:
    plain = plain_agreement(3, colluders=1, max_dropouts=1)
    with pytest.raises(AgreementError) as caught:
        agreement_from(plain)
    assert caught.value.key == "aggregation.max_dropouts"
    assert "3 of 3 parties" in caught.value.problem
    assert caught.value.remedy == ("set it to at most 0, or aggregation.colluders to at most 0")
    assert agreement_from(plain_agreement(3, colluders=1)).quorum == 3


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_drawn_graph_is_accepted_exactly_when_both_chances_are_small(
    data: st.DataObject,
) -> None:
    n = data.draw(st.integers(33, 120))
    c, d = data.draw(st.integers(0, n // 4)), data.draw(st.integers(0, n // 10))
    rounds = data.draw(st.sampled_from([1, 2, 25, 1000, 10**6]))
    plan = suggest_graph(n, c, d, rounds)
    degree = (
        data.draw(st.integers(2, n - 1))
        if plan is None
        else data.draw(st.integers(max(plan.degree - 3, 2), min(plan.degree + 12, n - 1)))
    )
    t = data.draw(st.integers(1, degree))
    cohort = quorum_of(n, c)
    problems = list(count_problems(n, rules(c, d, t, cohort, degree), rounds))
    good = (
        n - d > 32
        and degree < n - d - 1
        and privacy_bits(n, c, d, degree, t) >= 40 + math.ceil(math.log2(rounds))
        and recovery_bits(n, d, degree, t) >= 20
    )
    assert (not problems) == good
    if problems:
        key, remedy = problems[0].key, problems[0].remedy
        assert key in {"aggregation.neighbours", "aggregation.threshold"}
        numbers = [int(word) for word in remedy.replace(",", " ").split() if word.isdigit()]
        if key == "aggregation.threshold":
            for value in numbers:
                assert not list(count_problems(n, rules(c, d, value, cohort, degree), rounds))
        elif plan is not None:
            assert not list(count_problems(n, rules(c, d, numbers[1], cohort, numbers[0]), rounds))
        else:
            assert remedy == 'set it to "complete"'


def test_more_rounds_take_a_safer_graph_so_that_the_whole_run_is_as_safe_as_one() -> None:
    degrees = []
    for rounds in (1, 2, 25, 10**6):
        plan = suggest_graph(100, 10, 10, rounds)
        assert plan is not None
        failure = 2.0 ** -privacy_bits(100, 10, 10, plan.degree, plan.threshold)
        assert rounds * failure <= 2.0**-40
        degrees.append(plan.degree)
    assert degrees == sorted(degrees)
    assert degrees[-1] > degrees[0]


def test_a_graph_that_is_safe_in_one_round_is_refused_for_many() -> None:
    plan = suggest_graph(100, 10, 10, 1)
    told = {"colluders": 10, "max_dropouts": 10, "min_cohort": 56}
    numbers = {"neighbours": plan.degree, "threshold": plan.threshold}
    plain = plain_agreement(100, **told, **numbers)
    agreement_from(changed(plain, "tasks.0.rounds", 1))
    with pytest.raises(AgreementError, match=r"aggregation\..*over 1000000 rounds"):
        agreement_from(changed(plain, "tasks.0.rounds", 10**6))


def test_a_small_federation_cannot_draw_its_graph() -> None:
    with pytest.raises(
        AgreementError, match=r'aggregation\.neighbours: is 4: .*set it to "complete"'
    ):
        agreement_from(plain_agreement(10, neighbours=4))


# Refusals name the key and a value that works

KEY = member("x")["public_key"]
UNSAFE: list[tuple[str, dict[str, Any], str, str, dict[str, Any]]] = [
    ("everybody colludes", {"aggregation.colluders": 4}, "aggregation.colluders", "at most 3",
     {"aggregation.colluders": 3, "aggregation.threshold": 4, "aggregation.min_cohort": 5}),
    ("too many dropouts", {"aggregation.max_dropouts": 2}, "aggregation.max_dropouts", "at most 1",
     {"aggregation.max_dropouts": 1}),
    ("colluders can open masks", {"aggregation.threshold": 1}, "aggregation.threshold",
     "from 2 to 4", {"aggregation.threshold": 2}),
    ("too few holders left", {"aggregation.threshold": 5}, "aggregation.threshold", "from 2 to 4",
     {"aggregation.threshold": 4}),
    ("a cohort of fewer than confirm", {"aggregation.min_cohort": 3}, "aggregation.min_cohort",
     "from 4 to 5", {"aggregation.min_cohort": 4}),
    ("a cohort that dropouts make impossible",
     {"aggregation.min_cohort": 5, "aggregation.max_dropouts": 1}, "aggregation.min_cohort",
     "from 4 to 4", {"aggregation.min_cohort": 4}),
    ("a ring that wraps", {"tasks.0.modulus_bits": 16}, "tasks[0].modulus_bits", "at least 17",
     {"tasks.0.modulus_bits": 17}),
    ("a ring that wraps, by scale", {"tasks.0.modulus_bits": 16}, "tasks[0].modulus_bits",
     "scale to at most 818.87", {"tasks.0.scale": 818.87}),
    ("a scale beyond any ring", {"tasks.0.scale": 2.0**51, "tasks.0.modulus_bits": 64},
     "tasks[0].scale", "at most 2.8147e+14", {"tasks.0.scale": 2.8147e14}),
    ("values beyond float64", {"tasks.0.bound": 1e300}, "tasks[0].scale", "at most 2.2518e-285",
     {"tasks.0.scale": 2.2518e-285, "tasks.0.modulus_bits": 64}),
    ("a vector longer than a message",
     {"tasks.0.dimension": 2**20, "aggregation.max_message_bytes": 2**20},
     "aggregation.max_message_bytes", "at least 4194", {"aggregation.max_message_bytes": 4194700}),
    ("privacy not accepted", {"privacy.accept_no_differential_privacy": False},
     "privacy.accept_no_differential_privacy", "true",
     {"privacy.accept_no_differential_privacy": True}),
    ("one name twice", {"parties.1.name": "party-0"}, "parties[1].name", "keygen party-0",
     {"parties.1.name": "other"}),
    ("the coordinator is a party", {"parties.1.name": "hub"}, "parties[1].name", "keygen hub",
     {"parties.1.name": "other"}),
    ("one key twice", {"parties.1.public_key": member("hub")["public_key"]},
     "parties[1].public_key", "keygen party-1", {"parties.1.public_key": KEY}),
    ("one certificate twice", {"parties.4.tls_fingerprint": member("party-0")["tls_fingerprint"]},
     "parties[4].tls_fingerprint", "keygen party-4",
     {"parties.4.tls_fingerprint": member("x")["tls_fingerprint"]}),
    ("a key under which anybody signs", {"parties.2.public_key": "01" + "00" * 31},
     "parties[2].public_key", "keygen party-2", {"parties.2.public_key": KEY}),
    ("a mistyped key", {"parties.2.public_key": "02" + "00" * 31}, "parties[2].public_key",
     "keygen party-2", {"parties.2.public_key": KEY}),
    ("a placeholder", {"parties.2.public_key": "PASTE the key"}, "parties[2].public_key",
     "replace it", {"parties.2.public_key": KEY}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "key", "value", "cure"), [u[1:] for u in UNSAFE], ids=[u[0] for u in UNSAFE]
)
def test_what_is_unsafe_is_refused_with_the_key_and_a_value_that_works(
    changes: dict[str, Any], key: str, value: str, cure: dict[str, Any]
) -> None:
    plain = plain_agreement(5)
    for path, new in changes.items():
        plain = changed(plain, path, new)
    with pytest.raises(AgreementError) as caught:
        agreement_from(plain)
    assert caught.value.key == key
    assert value in caught.value.remedy
    for path, new in cure.items():
        plain = changed(plain, path, new)
    agreement_from(plain)


def test_two_tasks_of_one_name_are_refused() -> None:
    plain = plain_agreement()
    plain["tasks"] = plain["tasks"] * 2
    with pytest.raises(
        AgreementError, match=r"tasks\[1\].name: .*; choose another name, such as mean-2"
    ):
        agreement_from(plain)


def test_control_messages_of_many_parties_must_fit_as_well() -> None:
    plain = plain_agreement(400, colluders=10)
    with pytest.raises(AgreementError, match="survivors") as caught:
        agreement_from(changed(plain, "aggregation.max_message_bytes", 2**16))
    need = int(caught.value.remedy.split()[-1])
    agreement_from(changed(plain, "aggregation.max_message_bytes", need))
    with pytest.raises(AgreementError):
        agreement_from(changed(plain, "aggregation.max_message_bytes", need - 1))


def test_several_problems_are_counted_and_the_first_is_told() -> None:
    plain = changed(plain_agreement(5), "aggregation.threshold", 1)
    plain = changed(plain, "aggregation.min_cohort", 2)
    plain = changed(plain, "tasks.0.modulus_bits", 8)
    with pytest.raises(
        AgreementError, match=r"aggregation.threshold: .*\(the first of 3 problems\)"
    ):
        agreement_from(plain)


# Warnings


def test_differential_privacy_that_is_off_is_always_warned_of() -> None:
    assert any("differential privacy is off" in warning for warning in validate(make_agreement()))


@pytest.mark.parametrize(
    ("n", "changes", "words"),
    [
        (5, {"colluders": 0}, "colluders is 0"),
        (2, {"colluders": 0}, "each of these learns what the other one contributed"),
        (5, {"max_dropouts": 0}, "if any of the 5 parties is missing, no round can finish"),
    ],
)
def test_what_is_allowed_but_weak_is_warned_of(n: int, changes: dict[str, Any], words: str) -> None:
    assert any(words in warning for warning in validate(make_agreement(n, **changes)))


def test_a_sound_agreement_has_no_other_warning() -> None:
    assert len(validate(make_agreement(7, colluders=1, max_dropouts=2))) == 1
