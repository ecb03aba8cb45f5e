"""``securefed init``: a commented agreement to fill in, written without any connection."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from protocols.agreement.fields import PLACEHOLDER
from protocols.errors import MisuseError
from securefed.cli import noise_options, sum_options
from securefed.cli.options import JsonOption
from securefed.cli.output import console, print_json
from securefed.cli.sum_options import MEMBER, ModeName
from securefed.cli.summary_view import show_warnings
from securefed.draft import Draft, DraftMember
from securefed.draft_noise import DraftNoise
from securefed.draft_parameters import PARAMETERS
from securefed.learning.person import is_private
from securefed.learning.registry import build_task
from securefed.signing import write_text
from securefed.summary import counted

_NOISED, _PLAIN, _COMPANIES = "dp-logistic", "glm-logistic", "torch"


def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("agreement.toml"),
    federation: Annotated[
        str, typer.Option("--federation", help="Name of the federation.")
    ] = "my-federation",
    parties: Annotated[
        int, typer.Option("--parties", min=2, max=1000, help="How many, if none is named.")
    ] = 5,
    party: Annotated[
        list[str] | None, typer.Option("--party", help=f"A party; repeat it. {MEMBER}.")
    ] = None,
    coordinator: Annotated[
        str, typer.Option("--coordinator", help=f"Who runs the rounds. {MEMBER}.")
    ] = "coordinator",
    address: Annotated[
        str | None, typer.Option("--address", help="host:port of the coordinator.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="Kind of task: dp-logistic, dp-glm, dp-torch; without noise glm-logistic, torch "
            f"(default: {_NOISED}; without noise {_PLAIN}; where noise hides companies "
            f"{_COMPANIES}).",
        ),
    ] = None,
    task: Annotated[str, typer.Option("--task", help="Name of the task.")] = "model",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Most rounds it may take.")] = 25,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", help="Parameter of the task, KEY=VALUE in TOML; repeat it."),
    ] = None,
    people: noise_options.People = None,
    epsilon: noise_options.Epsilon = None,
    delta: noise_options.Delta = None,
    unit: noise_options.Unit = None,
    companies_per_person: noise_options.CompaniesPerPerson = None,
    clip_norm: noise_options.ClipNorm = None,
    clip_quantile: noise_options.ClipQuantile = None,
    clip_rate: noise_options.ClipRate = None,
    clip_lowest: noise_options.ClipLowest = None,
    clip_highest: noise_options.ClipHighest = None,
    sampling_rate: noise_options.SamplingRate = None,
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
    aggregation: sum_options.AggregationMode = ModeName.MASKING,
    key_bits: sum_options.KeyBits = None,
    dealer: sum_options.DealerName = None,
    key_holder: sum_options.KeyHolderName = None,
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

    Sums carry noise that keeps the promise of --epsilon to every person, or to every company with
    --unit company. The noise is chosen here.
    """
    if file.exists() and not force:
        raise MisuseError(f"{file} exists; name another file, or give --force to replace it")
    named = party or [f"party-{number}" for number in range(1, parties + 1)]
    given: dict[str, Any] = {
        "people": people,
        "epsilon": epsilon,
        "delta": delta,
        "unit": unit,
        "companies_per_person": companies_per_person,
        "clip_norm": clip_norm,
        "clip_quantile": clip_quantile,
        "clip_rate": clip_rate,
        "clip_lowest": clip_lowest,
        "clip_highest": clip_highest,
        "sampling_rate": sampling_rate,
    }
    noise = noise_options.read(given, accept=accept, parties=len(named))
    kind = kind or _default_kind(noise)
    parameters = _parameters(kind, parameter or [])
    _check_kind(kind, parameters, noise)
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
        **sum_options.read(aggregation, key_bits, dealer, key_holder),
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


def _default_kind(noise: DraftNoise | None) -> str:
    if noise is None:
        return _PLAIN
    return _NOISED if noise.unit == "person" else _COMPANIES


def _check_kind(kind: str, parameters: dict[str, Any], noise: DraftNoise | None) -> None:
    private = is_private(build_task(kind, parameters))
    people = noise is not None and noise.unit == "person"
    if people and not private:
        raise MisuseError(
            f"the kind {kind!r} bounds no person's share, so no noise can hide one: choose "
            "--kind dp-logistic, dp-glm or dp-torch, or give --accept-no-differential-privacy if "
            "every party accepts results without noise"
        )
    if private and noise is None:
        raise MisuseError(
            f"the kind {kind!r} runs with noise only: leave out --accept-no-differential-privacy "
            "and give --people N, or choose --kind glm-logistic or torch"
        )
    if private and not people:
        raise MisuseError(
            f"the kind {kind!r} gives one vector a person, and --unit company hides one vector a "
            "company: choose --kind torch, or --unit person"
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
        f"Every {noise.unit} is promised epsilon {noise.epsilon:g} at delta {noise.delta:g} over "
        "all rounds; the noise follows from that.",
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
