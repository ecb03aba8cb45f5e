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
from securefed.draft import PARAMETERS, Draft, DraftMember
from securefed.signing import write_text
from securefed.summary import counted

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
        str, typer.Option("--kind", help="Kind of task: glm-logistic, torch, ...")
    ] = "glm-logistic",
    task: Annotated[str, typer.Option("--task", help="Name of the task.")] = "model",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Most rounds it may take.")] = 25,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", help="Parameter of the task, KEY=VALUE in TOML; repeat it."),
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
            help="Answer now that every party accepts results without noise.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: JsonOption = False,
) -> None:
    """Write an agreement in which every key is explained, to be filled in and signed."""
    if file.exists() and not force:
        raise MisuseError(f"{file} exists; name another file, or give --force to replace it")
    named = party or [f"party-{number}" for number in range(1, parties + 1)]
    draft = Draft(
        federation=federation,
        coordinator=DraftMember.parse(coordinator),
        address=address,
        parties=[DraftMember.parse(text) for text in named],
        task=task,
        kind=kind,
        rounds=rounds,
        parameters=_parameters(kind, parameter or []),
        colluders=colluders,
        max_dropouts=max_dropouts,
        deadline_seconds=deadline,
        accept_no_differential_privacy=accept,
    )
    text = draft.to_toml()
    write_text(file, text)
    # Comments mention the placeholders too; only values count.
    open_values = text.count(f'"{PLACEHOLDER} ') + (not accept)
    if json:
        print_json({"file": str(file), "parties": len(named), "to_fill_in": open_values})
        return
    console().print(_next_steps(file, open_values), markup=False)


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
