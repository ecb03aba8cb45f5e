"""The questions of a privacy reviewer, after NIST SP 800-226, and what this record answers."""

from __future__ import annotations

from typing import Any, Final, Literal

from securefed.audit.statements import CONTROLLERS
from securefed.summary import RECEIVED, counted

State = Literal["answered", "partly", "not recorded", "not measured"]
_NOTHING: Final = "The agreement of this record could not be read."


def checklist(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return items (1) to (14), given every other part of the report."""
    if report["agreement"] is None:
        return [_item(number, title, "not recorded", _NOTHING) for number, title in _TITLES.items()]
    noised = report["privacy"]["noise"]
    answers = (_with_noise if noised else _without_noise)(report) | _common(report)
    return [_item(number, title, *answers[number]) for number, title in _TITLES.items()]


_TITLES: Final = {
    1: "Unit of privacy, adjacency, and who is protected from whom",
    2: "Epsilon and delta for each company and at most, promised and worst case",
    3: "Privacy curve",
    4: "Mechanism and its parameters; how people are sampled",
    5: "Every release",
    6: "Budget left, resets, other uses of the same data",
    7: "Randomness, sampler, floating point, side channels",
    8: "Bound on what one person contributes, across companies",
    9: "Dropouts and aborted rounds",
    10: "Ledger root, witnesses, verification",
    11: "Empirical lower bound",
    12: "Utility for subgroups",
    13: "Purpose, lawful basis, controllers, retention, impact assessment",
    14: "What is not claimed",
}

_Answer = tuple[Any, ...]


def _common(report: dict[str, Any]) -> dict[int, _Answer]:
    took, ledger = report["participation"], report["ledger"]
    releases = report["releases"]
    measured = report["empirical"]["measured"]
    return {
        5: (
            "answered",
            *(f"{one['output']} of {one['task']}: {one['count']} times" for one in releases),
            (
                "Nothing else is opened in a round; models are computed from these. A release "
                "outside the rounds would not be in the record."
            ),
        ),
        9: (
            "answered",
            (
                f"{counted(len(took['aborted']), 'round was', 'rounds were')} aborted, and "
                f"{took['rounds_with_dropouts']} of the others lost a company on the way."
            ),
        ),
        10: (
            "answered",
            (
                f"Root {ledger['root']} over {counted(ledger['leaves'], 'leaf', 'leaves')}, "
                f"{counted(len(report['checkpoints']), 'checkpoint', 'checkpoints')}, each "
                f"cosigned by at least {ledger['quorum']} of {len(ledger['witnesses'])} companies; "
                f"{counted(ledger['signatures'], 'signature', 'signatures')} checked."
            ),
        ),
        11: ("answered" if measured else "not measured", report["empirical"]["text"]),
        12: (
            "not measured",
            (
                "A ledger knows nothing of people's groups. Noise hurts small groups most: measure "
                "the model's quality for each before it is used."
            ),
        ),
        13: ("not recorded", f"To be filled in by the controllers: {'; '.join(CONTROLLERS)}."),
        14: ("answered", *report["not_claimed"]),
    }


def _without_noise(report: dict[str, Any]) -> dict[int, _Answer]:
    none = "No noise was added: there is no promise to people, whatever epsilon."
    return {
        1: ("answered", report["protection"]["adjacency"], *_readers(report), *_secrecy(report)),
        2: ("answered", none),
        3: ("answered", none),
        4: (
            "answered",
            (
                f"Sums of {RECEIVED[report['agreement']['mode']]} vectors only; mechanism "
                '"none", accepted by every company.'
            ),
        ),
        6: ("answered", "No budget: nothing is charged."),
        7: ("partly", report["sampler"]["side_channels"], report["sampler"]["evidence"]),
        8: ("answered", report["protection"]["contribution"]),
    }


def _with_noise(report: dict[str, Any]) -> dict[int, _Answer]:
    spent, sampler = report["privacy"], report["sampler"]
    budget, worst = spent["budget"], spent["worst_case"]
    limit = f"epsilon {worst['epsilon']:.4g}" if worst["bounded"] else "no bound"
    accountants = ", ".join(f"{one['name']} ({one['software']})" for one in spent["accountants"])
    return {
        1: ("answered", report["protection"]["adjacency"], *_readers(report), *_secrecy(report)),
        2: (
            "answered",
            (
                f"At most epsilon {_number(spent['epsilon_pld'])} at delta {spent['delta']:g} by "
                f"privacy loss distributions, {_number(spent['epsilon_rdp'])} by Renyi "
                "divergences; each company's is in the table of companies."
            ),
            f"Worst case, with one honest company: {limit}.",
            f"Delta times {spent['people']:,} units is {spent['delta_times_people']:.3g}.",
            f"Accountants: {accountants}; losses discretised to {spent['interval']:g}.",
        ),
        3: (
            "answered",
            "Epsilon by Renyi divergences at other deltas: "
            + ", ".join(
                f"{_number(one['epsilon_rdp'])} at {one['delta']:g}"
                for one in spent["curve_over_delta"]
            )
            + ". Noise, rate and number of rounds of every task are below, to compute any other.",
        ),
        4: (
            "answered",
            *(
                f"{one['task']}: discrete Gaussian, z = {one['noise_multiplier']:.4g}, clip norm "
                f"{one['clip_norm']:g}, q = {one['sampling_rate']:g}, T = {one['rounds_run']}, "
                f"sensitivity {one['sensitivity_grid_units']} grid units."
                for one in spent["tasks"]
            ),
            sampler["people"],
        ),
        6: (
            "answered",
            f"{budget['left']:.4g} of {budget['epsilon']:g} is left at delta {budget['delta']:g}.",
            budget["reset"],
            "Other federations on the same data: not recorded.",
        ),
        7: ("partly", *sampler.values()),
        8: ("answered", report["protection"]["contribution"]),
    }


def _readers(report: dict[str, Any]) -> list[str]:
    return [
        f"From {one['who']}: {one['how']}"
        + ("." if one["epsilon"] is None else f", epsilon {one['epsilon']:.4g}.")
        for one in report["protection"]["from"]
    ]


def _secrecy(report: dict[str, Any]) -> list[str]:
    told: list[str] = report["secrecy"]["sentences"]
    return told


def _number(value: float | None) -> str:
    return "without bound" if value is None else f"{value:.4g}"


def _item(number: int, title: str, state: State, *answer: str) -> dict[str, Any]:
    return {"number": number, "title": title, "state": state, "answer": list(answer)}
