"""Options of ``securefed init`` that say what is promised, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Final

import typer

from protocols.errors import MisuseError
from securefed.draft_noise import DraftClip, DraftNoise

_D: Final = DraftNoise(people=1)
_C: Final = DraftClip(quantile=0.5)


class UnitName(Enum):
    """What one noised sum hides."""

    PERSON = "person"
    COMPANY = "company"


People = Annotated[
    int | None,
    typer.Option(
        "--people",
        min=1,
        max=10**10,
        help="Most people of all parties together, a public number. Required where noise hides "
        "people.",
    ),
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        "--epsilon", help=f"Promised to every person, all rounds (default: {_D.epsilon:g})."
    ),
]
Delta = Annotated[
    float | None, typer.Option("--delta", help=f"Of that epsilon (default: {_D.delta:g}).")
]
Unit = Annotated[
    UnitName | None,
    typer.Option(
        "--unit",
        help=f"What a sum hides: a person, or a whole company, which takes a hundred parties or "
        f"more (default: {_D.unit}).",
    ),
]
CompaniesPerPerson = Annotated[
    int | None,
    typer.Option(
        "--companies-per-person",
        min=1,
        max=100,
        help=f"Most parties whose data one person may be in (default: {_D.companies_per_person}).",
    ),
]
ClipNorm = Annotated[
    float | None,
    typer.Option(
        "--clip-norm", help=f"Largest norm of a person's vector (default: {_D.clip_norm:g})."
    ),
]
ClipQuantile = Annotated[
    float | None,
    typer.Option(
        "--clip-quantile",
        help="Let the clip norm follow this quantile of the norms, such as 0.5 (default: fixed).",
    ),
]
ClipRate = Annotated[
    float | None,
    typer.Option(
        "--clip-rate",
        help=f"Largest change of the logarithm of that norm in a round (default: {_C.rate:g}).",
    ),
]
ClipLowest = Annotated[
    float | None,
    typer.Option("--clip-lowest", help="Smallest such norm (default: a fiftieth of --clip-norm)."),
]
ClipHighest = Annotated[
    float | None,
    typer.Option("--clip-highest", help="Largest such norm (default: fifty times --clip-norm)."),
]
SamplingRate = Annotated[
    float | None,
    typer.Option(
        "--sampling-rate",
        help=f"Probability that a person is in a round (default: {_D.sampling_rate:g}).",
    ),
]

_CLIP: Final = ("clip_rate", "clip_lowest", "clip_highest")


def read(options: Mapping[str, Any], *, accept: bool, parties: int) -> DraftNoise | None:
    """Return what is promised; ``None`` where no noise was accepted by name.

    Args:
        options: by name, ``None`` where they were left out.
        accept: whether results without noise are accepted.
        parties: how many there are.

    Raises:
        MisuseError: options that contradict each other, or too few of them.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if accept:
        if given:
            raise MisuseError(
                f"--accept-no-differential-privacy means no noise, but {_flag(next(iter(given)))} "
                "says how much: leave out one of them"
            )
        return None
    if given.pop("unit", UnitName.PERSON) is UnitName.COMPANY:
        given |= _of_companies(given, parties)
    if "people" not in given:
        raise MisuseError(
            "the noise that protects people needs to know how many there are: give --people N, "
            "the most people of all parties together (any public upper bound); or give "
            "--accept-no-differential-privacy if every party accepts results without noise"
        )
    clip = {name.removeprefix("clip_"): given.pop(name) for name in _CLIP if name in given}
    quantile = given.pop("clip_quantile", None)
    if clip and quantile is None:
        raise MisuseError(
            f"{_flag('clip_' + next(iter(clip)))} is about a clip norm that moves: give "
            "--clip-quantile as well, such as 0.5, or leave it out"
        )
    adaptive = None if quantile is None else DraftClip(quantile, **clip)
    return DraftNoise(**given, adaptive=adaptive)


def _of_companies(given: Mapping[str, Any], parties: int) -> dict[str, Any]:
    for name in ("people", "companies_per_person"):
        if name in given:
            raise MisuseError(
                f"{_flag(name)} is about people, and --unit company hides whole companies: leave "
                "out one of them"
            )
    return {"unit": "company", "people": parties}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
