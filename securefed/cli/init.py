"""``securefed init``: a commented agreement to fill in, written without any connection."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from protocols.agreement.fields import PLACEHOLDER
from protocols.errors import MisuseError
from securefed.cli.options import JsonOption
from securefed.cli.output import console, print_json
from securefed.cli.summary_view import show_warnings
from securefed.draft import PARAMETERS, Draft, DraftMember, DraftNoise
from securefed.learning.person import is_private
from securefed.learning.registry import build_task
from securefed.signing import write_text
from securefed.summary import counted

_D = DraftNoise(people=1)
_NOISED, _PLAIN = "dp-logistic", "glm-logistic"
_MEMBER = "NAME, or NAME:PUBLIC_KEY:TLS_FINGERPRINT as keygen prints it"


def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("agreement.toml"),
    federation: Annotated[
        str, typer.Option("--federation", help="Name of the federation.")
    ] = "my-federation",
    parties: Annotated[
        int, typer.Option("--parties", min=2, max=1000, help="How many, if none is named.")
    ] = 5,
    party: Annotated[
        list[str] | None, typer.Option("--party", help=f"A party; repeat it. {_MEMBER}.")
    ] = None,
    coordinator: Annotated[
        str, typer.Option("--coordinator", help=f"Who runs the rounds. {_MEMBER}.")
    ] = "coordinator",
    address: Annotated[
        str | None, typer.Option("--address", help="host:port of the coordinator.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="Kind of task: dp-logistic, dp-glm, dp-torch; without noise glm-logistic, torch "
            f"(default: {_NOISED}; without noise {_PLAIN}).",
        ),
    ] = None,
    task: Annotated[str, typer.Option("--task", help="Name of the task.")] = "model",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Most rounds it may take.")] = 25,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", help="Parameter of the task, KEY=VALUE in TOML; repeat it."),
    ] = None,
    people: Annotated[
        int | None,
        typer.Option(
            "--people",
            min=1,
            max=10**10,
            help="Most people of all parties together, a public number. Required with noise.",
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            "--epsilon", help=f"Promised to every person, all rounds (default: {_D.epsilon:g})."
        ),
    ] = None,
    delta: Annotated[
        float | None, typer.Option("--delta", help=f"Of that epsilon (default: {_D.delta:g}).")
    ] = None,
    clip_norm: Annotated[
        float | None,
        typer.Option(
            "--clip-norm", help=f"Largest norm of a person's vector (default: {_D.clip_norm:g})."
        ),
    ] = None,
    sampling_rate: Annotated[
        float | None,
        typer.Option(
            "--sampling-rate",
            help=f"Probability that a person is in a round (default: {_D.sampling_rate:g}).",
        ),
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option("--colluders", min=0, help="Parties that may side with the coordinator."),
    ] = None,
    max_dropouts: Annotated[
        int | None,
        typer.Option("--max-dropouts", min=0, help="Parties that may be missing in a round."),
    ] = None,
    deadline: Annotated[
        float, typer.Option("--deadline", help="Seconds to wait at each step of a round.")
    ] = 60.0,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-no-differential-privacy",
            help="No noise: every party accepts that results can reveal people in its data.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: JsonOption = False,
) -> None:
    """Write an agreement in which every key is explained, to be filled in and signed.

    Sums carry noise that keeps the promise of --epsilon to every person. The noise is chosen here.
    """
    if file.exists() and not force:
        raise MisuseError(f"{file} exists; name another file, or give --force to replace it")
    noise = _noise(people, epsilon, delta, clip_norm, sampling_rate, accept=accept)
    kind = kind or (_NOISED if noise else _PLAIN)
    parameters = _parameters(kind, parameter or [])
    _check_kind(kind, parameters, noised=noise is not None)
    named = party or [f"party-{number}" for number in range(1, parties + 1)]
    draft = Draft(
        federation=federation,
        coordinator=DraftMember.parse(coordinator),
        address=address,
        parties=[DraftMember.parse(text) for text in named],
        task=task,
        kind=kind,
        rounds=rounds,
        parameters=parameters,
        noise=noise,
        colluders=colluders,
        max_dropouts=max_dropouts,
        deadline_seconds=deadline,
    )
    text = draft.to_toml()
    write_text(file, text)
    # Comments mention the placeholders too; only values count.
    open_values = text.count(f'"{PLACEHOLDER} ')
    if json:
        told = {"file": str(file), "parties": len(named), "to_fill_in": open_values}
        promise = {"epsilon": noise.epsilon, "delta": noise.delta} if noise else None
        print_json({**told, "differential_privacy": promise})
        return
    console().print(_next_steps(file, open_values), markup=False)
    _say_what_is_promised(noise)


def _noise(
    people: int | None,
    epsilon: float | None,
    delta: float | None,
    clip_norm: float | None,
    sampling_rate: float | None,
    *,
    accept: bool,
) -> DraftNoise | None:
    numbers = {
        "epsilon": epsilon,
        "delta": delta,
        "clip_norm": clip_norm,
        "sampling_rate": sampling_rate,
    }
    given = {name: value for name, value in numbers.items() if value is not None}
    if accept:
        options = [*(["people"] if people is not None else []), *given]
        if options:
            raise MisuseError(
                f"--accept-no-differential-privacy means no noise, but "
                f"--{options[0].replace('_', '-')} says how much: leave out one of them"
            )
        return None
    if people is None:
        raise MisuseError(
            "the noise that protects people needs to know how many there are: give --people N, "
            "the most people of all parties together (any public upper bound); or give "
            "--accept-no-differential-privacy if every party accepts results without noise"
        )
    return DraftNoise(people, **given)


def _check_kind(kind: str, parameters: dict[str, Any], *, noised: bool) -> None:
    private = is_private(build_task(kind, parameters))
    if noised and not private:
        raise MisuseError(
            f"the kind {kind!r} bounds no person's share, so no noise can hide one: choose "
            "--kind dp-logistic, dp-glm or dp-torch, or give --accept-no-differential-privacy if "
            "every party accepts results without noise"
        )
    if private and not noised:
        raise MisuseError(
            f"the kind {kind!r} runs with noise only: leave out --accept-no-differential-privacy "
            "and give --people N, or choose --kind glm-logistic or torch"
        )


def _say_what_is_promised(noise: DraftNoise | None) -> None:
    if noise is None:
        warning = (
            "differential privacy is off: sums and models can reveal people in the data, and every "
            "party accepts that with its signature"
        )
        show_warnings(console(), (warning,))
        return
    console().print(
        f"Every person is promised epsilon {noise.epsilon:g} at delta {noise.delta:g} over all "
        "rounds; the noise follows from that.",
        markup=False,
    )


def _parameters(kind: str, given: list[str]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for text in given:
        try:
            found = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
            raise MisuseError(
                f"--set {text[:80]!r} is not KEY=VALUE in TOML; quote text, as in 'model=\"mlp\"'"
            ) from error
        parameters |= found
    # The one parameter without a default of its own; any number makes a draft to be edited.
    return {"features": 10} | parameters if kind in PARAMETERS else parameters


def _next_steps(file: Path, open_values: int) -> str:
    left = counted(open_values, "value is", "values are")
    todo = f"{left} left to fill in; then run" if open_values else "Now run"
    return f"wrote {file}. {todo}\n  securefed validate {file}\n  securefed inspect {file}"
