"""The four answers that a reader wants first, each a few words and a sentence or two."""

from __future__ import annotations

from typing import Any, Final

from securefed.audit.secrecy import HIDES
from securefed.audit.words import chance
from securefed.summary import counted

_TITLES: Final = (
    "What was protected",
    "From whom",
    "How strongly",
    "What is left",
)


def cards(report: dict[str, Any]) -> list[dict[str, str]]:
    """Return the cards, given every other part of the report."""
    if report["agreement"] is None:
        return [
            _card(title, "not established", "The agreement could not be read.") for title in _TITLES
        ]
    spent = report["privacy"]
    if not spent["noise"]:
        return _without_noise(report)
    if report["verdict"]["verdict"] == "failed":
        return _failed(report)
    return [
        _card(_TITLES[0], f"One {report['protection']['unit']}", _what(report)),
        _card(_TITLES[1], _whom(report), _from_whom(report)),
        _card(_TITLES[2], f"epsilon {_number(spent['epsilon_pld'])}", _how(spent)),
        _card(_TITLES[3], _left(spent["budget"]), _budget(report)),
    ]


def _what(report: dict[str, Any]) -> str:
    unit = report["protection"]["unit"]
    whom = "any one person" if unit == "person" else "any one company"
    return (
        f"With or without the data of {whom}, the results look nearly alike: random noise in every "
        "sum hides the difference."
    )


def _whom(report: dict[str, Any]) -> str:
    all_of_them = report["agreement"]["colluders"] > 0
    return "Everybody who sees results" if all_of_them else "The coordinator and the public"


def _from_whom(report: dict[str, Any]) -> str:
    agreement = report["agreement"]
    c, n = agreement["colluders"], len(agreement["parties"])
    if not c:
        return (
            "From the coordinator, if no company helps it, and from whoever gets the models. Less "
            "from another company, which knows its own noise. Not from the company that holds the "
            "data."
        )
    return (
        f"From the coordinator, even with {c} of {n} companies on its side; from every other "
        "company; and from whoever gets the models. Not from the company that holds the data."
    )


def _how(spent: dict[str, Any]) -> str:
    worst = spent["worst_case"]
    alone = f"epsilon {worst['epsilon']:.3f}" if worst["bounded"] else "no bound"
    return (
        f"{spent['meaning']} That is {spent['strength']}. Delta, the chance of more, is "
        f"{chance(spent['delta'])}. Were all other companies to collude: {alone}."
    )


def _left(budget: dict[str, Any]) -> str:
    return f"{budget['left']:.3g} of {budget['epsilon']:g}"


def _budget(report: dict[str, Any]) -> str:
    budget = report["privacy"]["budget"]
    planned = counted(budget["rounds_planned"], "round", "rounds")
    ran = f"{budget['rounds_run']} of at most {planned} ran"
    after = (
        "The run is closed: no more will be spent under this agreement."
        if report["verdict"]["closed"]
        else "The run is not closed: more may have been spent since."
    )
    return f"Every company's own node stops at epsilon {budget['epsilon']:g}. {ran}. {after}"


def _failed(report: dict[str, Any]) -> list[dict[str, str]]:
    spent = report["privacy"]
    sofar = (
        f"The rounds before the fault cost epsilon {_number(spent['epsilon_pld'])} at delta "
        f"{spent['delta']:g}, if they are as they stand."
    )
    text = (
        (
            f"The agreement promises to protect one {report['protection']['unit']}. The record "
            "does not show that this was kept."
        ),
        "The agreement names them. The record does not show that this was kept.",
        sofar,
        "What came after the fault is not known, so nothing can be said.",
    )
    return [_card(title, "not established", one) for title, one in zip(_TITLES, text, strict=True)]


def _without_noise(report: dict[str, Any]) -> list[dict[str, str]]:
    fewest = report["agreement"]["fewest_in_a_sum"]
    return [
        _card(
            _TITLES[0],
            "Companies, not people",
            f"{HIDES[report['agreement']['mode']]} which company contributed what. There is no "
            "noise: sums and models can tell about single people.",
        ),
        _card(
            _TITLES[1],
            "The coordinator and the other companies",
            f"They see sums of at least {fewest} companies, never one company's part, and every "
            "model.",
        ),
        _card(_TITLES[2], "no promise to people", "Without noise there is no epsilon."),
        _card(_TITLES[3], "no budget", "Nothing is counted, because nothing was promised."),
    ]


def _number(value: float | None) -> str:
    return "without bound" if value is None else f"{value:.3f}"


def _card(title: str, big: str, text: str) -> dict[str, str]:
    return {"title": title, "big": big, "text": text}
