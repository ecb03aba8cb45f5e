"""Options of ``securefed init`` that say how sums are formed, and whose key encrypts."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final

import typer

from protocols.errors import MisuseError
from securefed.draft import DraftMember
from securefed.sum_mode import DEFAULT_KEY_BITS

MEMBER: Final = "NAME, or NAME:PUBLIC_KEY:TLS_FINGERPRINT as keygen prints it"


class ModeName(Enum):
    """How the sum is formed."""

    MASKING = "masking"
    PAILLIER = "paillier"
    LAYERED = "layered"


AggregationMode = Annotated[
    ModeName,
    typer.Option(
        "--aggregation",
        help="How sums are formed: masks; Paillier ciphertexts, which a quorum of the parties "
        "opens; or both, layered.",
    ),
]
KeyBits = Annotated[
    int | None,
    typer.Option(
        "--key-bits",
        help=f"Length of the Paillier modulus (default: {DEFAULT_KEY_BITS}; 2048 at the least).",
    ),
]
DealerName = Annotated[
    str | None,
    typer.Option("--dealer", help=f"Who deals the Paillier key to the parties. {MEMBER}."),
]
KeyHolderName = Annotated[
    str | None,
    typer.Option(
        "--key-holder",
        help=f"Who holds the Paillier key alone, with --aggregation layered. {MEMBER}.",
    ),
]


def read(
    mode: ModeName, key_bits: int | None, dealer: str | None, key_holder: str | None
) -> dict[str, Any]:
    """Return what a draft takes: ``mode``, ``key_bits``, ``dealer`` and ``key_holder``.

    Raises:
        MisuseError: options that do not go together; says what to give.
        AgreementError: a member in another form.
    """
    given = {"--key-bits": key_bits, "--dealer": dealer, "--key-holder": key_holder}
    named = [option for option, value in given.items() if value is not None]
    if mode is ModeName.MASKING and named:
        raise MisuseError(
            f"nothing is encrypted with --aggregation masking, but {named[0]} is about the "
            "Paillier key: leave it out, or give --aggregation layered"
        )
    if mode is ModeName.PAILLIER and key_holder is not None:
        raise MisuseError(
            "a key holder sees sums that are still masked, with --aggregation layered only: give "
            "--dealer NAME instead"
        )
    if mode is not ModeName.MASKING and (dealer is None) == (key_holder is None):
        raise MisuseError(
            f"with --aggregation {mode.value} somebody makes the Paillier key: give --dealer NAME"
            + (", or else --key-holder NAME" if mode is ModeName.LAYERED else "")
        )
    return {
        "mode": mode.value,
        "key_bits": DEFAULT_KEY_BITS if key_bits is None else key_bits,
        "dealer": None if dealer is None else DraftMember.parse(dealer),
        "key_holder": None if key_holder is None else DraftMember.parse(key_holder),
    }
