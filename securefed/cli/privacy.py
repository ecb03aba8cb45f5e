"""``securefed privacy``: what a plan costs in epsilon, and what noise an epsilon takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from protocols.privacy.accounting import epsilon, guarantee
from protocols.privacy.calibration import smallest_noise_multiplier
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.releases import Release
from securefed.cli.output import console, print_json

privacy_app = typer.Typer(
    help="Compute privacy: epsilon of a plan, or the noise that an epsilon takes.",
    no_args_is_help=True,
)

SamplingRate = Annotated[
    float, typer.Option(help="Probability that a person takes part in a step; 1 is everybody.")
]
Steps = Annotated[int, typer.Option(help="Number of noised sums released.")]
Delta = Annotated[float, typer.Option(help="Delta; well below one over the number of people.")]
Companies = Annotated[int, typer.Option(help="Most companies that one person may be in.")]
Honest = Annotated[
    int, typer.Option(help="Parties that share the noise: all but colluders and dropouts.")
]
Sensitivity = Annotated[
    int, typer.Option(help="Integer noise: norm bound in grid units; 0 is continuous noise.")
]
Dimension = Annotated[int, typer.Option(help="Integer noise: values in each sum.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@privacy_app.command("epsilon")
def print_epsilon(
    noise_multiplier: Annotated[
        float, typer.Option(help="Standard deviation of the noise over the sensitivity.")
    ],
    steps: Steps,
    delta: Delta,
    sampling_rate: SamplingRate = 1.0,
    companies: Companies = 1,
    honest: Honest = 1,
    sensitivity: Sensitivity = 0,
    dimension: Dimension = 1,
    as_json: AsJson = False,
) -> None:
    """Print epsilon of a plan, by privacy loss distributions and by Renyi divergences."""
    shape = Release(1.0, sampling_rate, steps, companies)
    promised, alone = (
        _release(noise_multiplier, shape, honest, sharers, sensitivity, dimension)
        for sharers in (honest, 1)
    )
    _print(noise_multiplier, promised, alone, delta=delta, honest=honest, as_json=as_json)


@privacy_app.command("calibrate")
def print_noise(
    target_epsilon: Annotated[float, typer.Option(help="Epsilon that must not be exceeded.")],
    steps: Steps,
    delta: Delta,
    sampling_rate: SamplingRate = 1.0,
    companies: Companies = 1,
    honest: Honest = 1,
    sensitivity: Sensitivity = 0,
    dimension: Dimension = 1,
    accountant: Annotated[str, typer.Option(help="Whose epsilon: pld or rdp.")] = "pld",
    as_json: AsJson = False,
) -> None:
    """Print the smallest noise multiplier with which a plan stays within its epsilon."""
    shape = Release(1.0, sampling_rate, steps, companies)

    def release(z: float, sharers: int) -> Release:
        return _release(z, shape, honest, sharers, sensitivity, dimension)

    z = smallest_noise_multiplier(
        lambda z: [release(z, honest)],
        target_epsilon=target_epsilon,
        delta=delta,
        accountant=accountant,
    )
    _print(z, release(z, honest), release(z, 1), delta=delta, honest=honest, as_json=as_json)


def _release(
    z: float, shape: Release, honest: int, sharers: int, sensitivity: int, dimension: int
) -> Release:
    """Return the plan when ``sharers`` of the ``honest`` parties keep their noise to themselves."""
    if not sensitivity:
        whole = replace(shape, noise_multiplier=z)
        return whole if sharers == honest else whole.alone(honest)
    return SummedNoise(z, sensitivity, honest, dimension).release(
        sampling_rate=shape.sampling_rate,
        count=shape.count,
        companies=shape.companies,
        sharers=sharers,
    )


def _print(
    z: float, promised: Release, alone: Release, *, delta: float, honest: int, as_json: bool
) -> None:
    cost = guarantee([promised], delta)
    shown: dict[str, Any] = {
        "noise_multiplier": z,
        "sampling_rate": promised.sampling_rate,
        "steps": promised.count,
        "companies": promised.companies,
        "delta": delta,
        "epsilon_pld": cost.epsilon_pld,
        "epsilon_rdp": cost.epsilon_rdp,
        "honest": honest,
        "epsilon_worst_case": cost.epsilon_pld if honest == 1 else epsilon([alone], delta),
    }
    if as_json:
        print_json(shown)
        return
    out = console()
    out.print(f"noise multiplier {z:.6g}, {promised.count} steps, rate {promised.sampling_rate:g}")
    out.print(f"epsilon {cost.epsilon_pld:.4f} at delta {delta:g} (add or remove one person)")
    out.print(f"epsilon {cost.epsilon_rdp:.4f} by Renyi divergences, a looser bound")
    if honest > 1:
        worst = shown["epsilon_worst_case"]
        out.print(f"epsilon {worst:.4f} if all {honest - 1} other sharers of the noise collude")
