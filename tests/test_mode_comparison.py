"""The three modes side by side: what each costs, and who could read one party's update."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import StringIO
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.agreements import (
    changed,
    encrypted,
    identity_of,
    make_agreement,
    plain_agreement,
)
from support.commands import Run, commands

from protocols.agreement import Agreement, agreement_from
from protocols.errors import AgreementError
from securefed.cli.mode_view import show_modes
from securefed.collusion import Coalition, Exposure, exposure, fewest_survivors
from securefed.forecast import forecast
from securefed.mode_comparison import compare_modes, slow_openings
from securefed.task_check import check_tasks

WAYS = [("masking", ""), ("paillier", "dealer"), ("layered", "dealer"), ("layered", "key_holder")]
NAMED = [("masking", ""), ("paillier", "quorum"), ("layered", "quorum"), ("layered", "key holder")]


def agreement_of(mode: str, who: str, n: int = 7, **counts: Any) -> Agreement:
    plain = plain_agreement(n, **{"colluders": 2, "max_dropouts": 1, "threshold": 4} | counts)
    return agreement_from(plain if mode == "masking" else encrypted(plain, mode, who))


def told(found: tuple[Coalition, ...]) -> list[str]:
    return [str(one) for one in found]


# Who could read one party's update


def test_masks_are_opened_by_their_share_holders_or_by_two_sums_of_one_round() -> None:
    # 7 parties, 2 colluders: quorum 5, so two survivor sets need 2 * 5 - 7 = 3 to confirm both.
    found = exposure(agreement_of("masking", ""))
    assert told(found.safe_from) == ["coordinator and 2 parties"]
    assert told(found.unnoticed) == ["coordinator and 4 parties"]
    assert told(found.provable) == ["coordinator and 3 parties"]
    assert found.later == ()
    assert found.rests_on == "masks"


def test_ciphertexts_alone_are_opened_by_a_quorum_or_a_dealer_that_kept_the_key_even_later() -> (
    None
):
    found = exposure(agreement_of("paillier", "dealer"))
    assert told(found.safe_from) == ["coordinator and 2 parties"]
    key = ["5 parties", "dealer and 1 party", "coordinator and dealer"]
    assert told(found.unnoticed) == ["coordinator and 4 parties", *key]
    assert told(found.provable) == ["coordinator and 3 parties"]
    assert told(found.later) == key


def test_layers_are_opened_by_nobody_who_has_but_one_of_them() -> None:
    shared = exposure(agreement_of("layered", "dealer"))
    assert told(shared.safe_from) == ["coordinator, dealer and 2 parties"]
    assert told(shared.unnoticed) == [
        "coordinator and 4 parties",
        "5 parties",
        "dealer and 4 parties",
    ]
    held = exposure(agreement_of("layered", "key_holder"))
    assert told(held.safe_from) == ["coordinator, key holder and 2 parties"]
    assert told(held.unnoticed) == ["coordinator and 4 parties", "key holder and 4 parties"]
    assert told(held.provable) == ["coordinator, key holder and 3 parties"]
    assert shared.later == held.later == ()


def test_whoever_needs_the_party_itself_reads_nothing_without_it() -> None:
    # With a quorum of all three, nobody opens or confirms anything against the third.
    found = exposure(
        agreement_of("paillier", "dealer", 3, colluders=1, max_dropouts=0, threshold=2)
    )
    assert "3 parties" not in told(found.unnoticed)
    assert found.provable == ()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WAYS), st.integers(2, 30), st.data())
def test_nobody_against_whom_privacy_is_promised_is_among_those_who_could_break_it(
    way: tuple[str, str], n: int, data: st.DataObject
) -> None:
    c = data.draw(st.integers(0, n - 2))
    quorum = (n + c) // 2 + 1
    d = data.draw(st.integers(0, n - quorum))
    threshold = data.draw(st.integers(c + 1, max(c + 1, n - 1 - d)))
    try:
        agreement = agreement_of(
            *way, n, colluders=c, max_dropouts=d, threshold=threshold, min_cohort=quorum
        )
    except AgreementError:
        return
    found: Exposure = exposure(agreement)
    for one in chain(found.unnoticed, found.provable, found.later):
        assert not any(safe.includes(one) for safe in found.safe_from), str(one)
        assert one.parties <= n - 1
    # All others of a sum always can: no protocol keeps them from subtracting.
    most = Coalition(("coordinator",), fewest_survivors(agreement) - 1)
    assert any(most.includes(one) for one in found.unnoticed)


# What each mode costs


@pytest.mark.parametrize(("mode", "who"), WAYS)
def test_every_mode_is_priced_whichever_was_agreed_and_the_agreed_one_as_forecast(
    mode: str, who: str
) -> None:
    agreement = agreement_of(mode, who)
    cost = forecast(agreement, mbit_per_second=20, model_bytes={"mean": 500})
    found = compare_modes(agreement, cost)
    assert [(one.mode, one.opened_by) for one in found] == NAMED
    assert [one.agreed for one in found] == [way == (mode, who) for way in WAYS]
    [own] = [one for one in found if one.agreed]
    [price], [forecasted] = own.tasks, cost.tasks
    assert price.party_up == forecasted.up_per_round
    assert price.party_down == forecasted.down_per_round
    assert price.round_seconds == forecasted.seconds_per_round
    assert price.coordinator_in * forecasted.rounds == cost.coordinator_in
    assert own.exposure == exposure(agreement)
    assert {one.key_bits for one in found} == {0, 3072 if mode == "masking" else 2048}


def test_a_variant_costs_what_it_would_if_it_were_agreed_on() -> None:
    masked, layered = agreement_of("masking", ""), agreement_of("layered", "key_holder")
    # Names and keys are as long, so that messages are too.
    variant = compare_modes(layered, forecast(layered))[0]
    own = compare_modes(masked, forecast(masked))[0]
    assert variant.tasks == own.tasks
    assert [one.tasks[0].answers for one in compare_modes(layered, forecast(layered))] == [
        6,
        4,
        7,
        7,
    ]


def test_more_parties_than_may_encrypt_are_told_so() -> None:
    agreement = make_agreement(101)
    found = compare_modes(agreement, forecast(agreement))
    assert [one.obstacle for one in found] == ["", *["for at most 100 parties"] * 3]
    assert [len(one.tasks) for one in found] == [1, 0, 0, 0]


def test_a_deadline_below_the_time_of_an_opening_is_warned_of() -> None:
    plain = encrypted(plain_agreement(3), "layered", "dealer", key_bits=3072)
    plain = changed(plain, "aggregation.max_message_bytes", 2**30)
    assert not list(slow_openings(agreement_from(plain)))
    plain = changed(plain, "tasks.0.dimension", 1_000_000)
    [warning] = slow_openings(agreement_from(plain))
    assert "task mean" in warning
    assert "deadline_seconds is 30" in warning
    enough = float(warning.split()[-1])
    assert not list(
        slow_openings(agreement_from(changed(plain, "aggregation.deadline_seconds", enough)))
    )


# On the screen


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return commands(monkeypatch, capsys, tmp_path)


def written(run: Run, tmp_path: Path, *more: str) -> Path:
    chosen = ("--people", 5000, "--parties", 7, "--colluders", 2, "--max-dropouts", 1)
    assert run("init", "agreement.toml", *chosen, *more).code == 0
    file, numbers = tmp_path / "agreement.toml", count()
    address = file.read_text().replace("PASTE host:port", "hub:1")
    file.write_text(re.sub('"PASTE [^"]*"', lambda _: f'"{public_key_of(next(numbers))}"', address))
    return file


def public_key_of(number: int) -> str:
    return identity_of(str(number)).public.raw.hex()


@pytest.mark.parametrize("key", ["dealer", "key-holder"])
def test_inspect_shows_the_modes_side_by_side_and_in_json(
    run: Run, tmp_path: Path, key: str
) -> None:
    written(run, tmp_path, "--aggregation", "layered", f"--{key}", "mint")
    words = " ".join(run("inspect", "agreement.toml").out.split())
    for part in (
        "What each mode costs in a round of model",
        "paillier,",
        "layered,",
        "(agreed)",
        "party, others waiting",
        "could read it, unseen",
        "docs/threshold-paillier.md",
        "key holder mint" if key == "key-holder" else "dealer mint",
    ):
        assert part in words, part
    shown = run("inspect", "agreement.toml", "--json").json
    assert shown["insights"][0]["never"].endswith("it receives is masked and encrypted")
    agreed = [(one["mode"], one["opened_by"]) for one in shown["modes"] if one["agreed"]]
    assert agreed == [("layered", "quorum" if key == "dealer" else "key holder")]
    masking = shown["modes"][0]["exposure"]
    assert masking["unnoticed"] == [{"roles": ["coordinator"], "parties": 4}]
    assert shown["modes"][1]["tasks"][0]["seconds"]["trustee"] > 0


@pytest.mark.parametrize("more", [(), ("--aggregation", "paillier", "--dealer", "mint")])
def test_inspect_prices_all_modes_where_nothing_for_encrypting_is_installed(
    run: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    written(run, tmp_path, *more)
    program = (
        "import sys; sys.modules['gmpy2'] = sys.modules['phe'] = None; "
        "from securefed.cli import main; "
        "sys.argv = ['securefed', 'inspect', 'agreement.toml', '--json']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["mode"] for one in json.loads(done.stdout)["modes"]] == [way[0] for way in NAMED]


def test_the_page_on_paillier_shows_what_inspect_prints_for_its_example() -> None:
    page = (Path(__file__).parents[1] / "docs" / "paillier.md").read_text()
    example, shown = re.findall(r"^```(?:python|text)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[
        :2
    ]
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - the documentation is the test
    lead = names["banks"]
    agreement = lead.agreement_for(
        {name: identity_of(name) for name in ("coordinator", *lead.parties, *lead.key_makers)}
    )
    cost = forecast(agreement, model_bytes=check_tasks(agreement).model_bytes)
    screen = Console(file=StringIO(), width=120, highlight=False)
    show_modes(screen, compare_modes(agreement, cost))
    printed = [line.rstrip() for line in screen.file.getvalue().splitlines()]
    assert shown.splitlines() == printed
