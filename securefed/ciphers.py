"""What nodes encrypt and open with, made of files or in memory. Needs the extra ``paillier``.

Imported only where an agreement encrypts, within :func:`securefed.extras.paillier_extra`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from parties.coordinator.cipher import SumOpener
from parties.keyholder import KeyHolderNode
from parties.obfuscation import ObfuscatorSupply
from parties.paillier_keys import read_share, share_path
from parties.paillier_workers import paillier_workers
from parties.party.cipher import CipherTools, PartyCiphers
from protocols.agreement import SignedAgreement
from protocols.agreement.ciphertexts import ciphertext_count
from protocols.errors import MisuseError
from protocols.identity import Identity
from protocols.paillier.dealing import MakePrimes
from protocols.paillier.dealing_primes import safe_primes
from protocols.paillier.key_record import deal_in_memory, read_key_record
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from securefed.deployment import Deployment


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The key of an agreement as one node has it.

    Attributes:
        record: of the key and its ceremony, as every node has it.
        key: in that record, checked.
        share: of a trustee; ``None`` for everybody else.
    """

    record: bytes
    key: ThresholdKey
    share: KeyShare | None = field(default=None, repr=False)


def check_record(signed: SignedAgreement, record: bytes, *, source: str) -> NodeKeys:
    """Check a record that names no trustee's share.

    Raises:
        PeerError: it is not in force; names ``source`` where it is no record at all.
    """
    return NodeKeys(record, read_key_record(record, signed.agreement, signed.digest, party=source))


def load_node_keys(
    deployment: Deployment, name: str, directory: Path, passphrase: bytes
) -> NodeKeys | None:
    """Read what a node needs beside its identity; ``None`` where nothing is encrypted.

    Args:
        deployment: agreement in force, and the key's record.
        name: of the node: a party or the key holder.
        directory: of keys, where a ceremony left our share.
        passphrase: of our keys.

    Raises:
        PeerError: the record is not in force.
        KeyFileError: our share is missing, damaged, or of another key.
    """
    signed, record = deployment.signed, deployment.key_record
    if record is None:
        return None
    if name not in {trustee.name for trustee in signed.agreement.trustees}:
        return check_record(signed, record, source="the key record")
    key, share = read_share(
        share_path(directory, name, record),
        name,
        record,
        signed.agreement,
        signed.digest,
        passphrase,
    )
    return NodeKeys(record, key, share)


def coordinator_cipher(
    signed: SignedAgreement, identity: Identity, record: bytes, *, workers: int | None = None
) -> SumOpener:
    """Return what a coordinator multiplies and combines with.

    Raises:
        PeerError: the record is not in force.
    """
    return SumOpener(signed, identity, record, paillier_workers(workers))


def tools_of(
    signed: SignedAgreement, identity: Identity, keys: NodeKeys, *, workers: int | None = None
) -> CipherTools:
    """Return what a node with or without a share encrypts and opens with."""
    return CipherTools(
        signed,
        identity,
        keys.record,
        keys.key,
        paillier_workers(workers),
        secrets.token_bytes,
        keys.share,
    )


def party_cipher(
    signed: SignedAgreement, identity: Identity, keys: NodeKeys, *, workers: int | None = None
) -> PartyCiphers:
    """Return what a party encrypts and opens with; its tables begin to be built."""
    tools = tools_of(signed, identity, keys, workers=workers)
    agreement = signed.agreement
    powers = sum(ciphertext_count(agreement, task) * task.rounds for task in agreement.tasks)
    supply = ObfuscatorSupply(keys.key.public, expected=powers, workers=tools.workers)
    return PartyCiphers(tools, supply)


def deal_here(
    signed: SignedAgreement,
    identities: Mapping[str, Identity],
    *,
    make_primes: MakePrimes = safe_primes,
) -> dict[str, NodeKeys]:
    """Deal the key of an agreement in this process; return what each node gets, by name.

    For simulations and demonstrations: the process sees every share.

    Raises:
        MisuseError: an identity is missing.
    """
    agreement = signed.agreement
    record, shares = deal_in_memory(
        agreement, signed.digest, identities, secrets.token_bytes, make_primes=make_primes
    )
    public = check_record(signed, record, source="the key record")
    names = [agreement.coordinator.name, *(party.name for party in agreement.parties)]
    if not set(shares) <= set(identities):
        raise MisuseError("a trustee of the key has no identity here")
    return {name: NodeKeys(record, public.key, shares.get(name)) for name in {*names, *shares}}


class MemoryCiphers:
    """The ciphers of all nodes of one process.

    Attributes:
        coordinator: of the coordinator.
        parties: of each party, by name.
        holders: makes the node of the key holder, where there is one, by name.
    """

    def __init__(
        self,
        signed: SignedAgreement,
        identities: Mapping[str, Identity],
        keys: Mapping[str, NodeKeys],
    ) -> None:
        """Args: the agreement in force; identities and keys by name."""
        agreement = signed.agreement
        hub, names = agreement.coordinator.name, [party.name for party in agreement.parties]
        self.coordinator = coordinator_cipher(signed, identities[hub], keys[hub].record)
        self.parties = {
            name: party_cipher(signed, identities[name], keys[name], workers=1) for name in names
        }
        self._tools = [
            tools_of(signed, identities[one.name], keys[one.name])
            for one in agreement.trustees
            if one.name not in names
        ]
        self.holders = {one.identity.name: partial(KeyHolderNode, one) for one in self._tools}

    def close(self) -> None:
        """Let the threads end."""
        self.coordinator.close()
        for party in self.parties.values():
            party.close()
        for tools in self._tools:
            tools.workers.close()
