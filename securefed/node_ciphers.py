"""What nodes encrypt and open with, where their agreement encrypts and the extra is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.errors import KeyFileError
from protocols.identity import Identity
from securefed.deployment import Deployment
from securefed.extras import paillier_extra

if TYPE_CHECKING:
    from parties.coordinator.cipher import SumOpener
    from parties.party.cipher import PartyCiphers
    from securefed.ciphers import NodeKeys


def coordinator_cipher(
    deployment: Deployment, identity: Identity, workers: int
) -> SumOpener | None:
    """Return what a coordinator multiplies and combines with; ``None`` with "masking".

    Raises:
        MisuseError: the extra is not installed.
        PeerError: the record of the key is not in force.
    """
    if deployment.key_record is None:
        return None
    with paillier_extra():
        from securefed import ciphers  # noqa: PLC0415 - an extra
    return ciphers.coordinator_cipher(
        deployment.signed, identity, deployment.key_record, workers=workers
    )


def party_cipher(
    deployment: Deployment, identity: Identity, keys: NodeKeys | None
) -> PartyCiphers | None:
    """Return what a party encrypts and opens with; ``None`` with "masking".

    Raises:
        MisuseError: the extra is not installed.
        PeerError: the record of the key is not in force.
        KeyFileError: the parties open sums, and our share is missing.
    """
    record, signed = deployment.key_record, deployment.signed
    if record is None:
        return None
    with paillier_extra():
        from securefed import ciphers  # noqa: PLC0415 - an extra
    own = keys or ciphers.check_record(signed, record, source="the key record")
    if own.share is None and identity.name in {one.name for one in signed.agreement.trustees}:
        raise KeyFileError(
            f"{identity.name} has no share of the key; run securefed ceremony confirm, and give "
            "the keys that load_node_keys reads"
        )
    return ciphers.party_cipher(signed, identity, own)
