"""What partners would exchange by hand: keys, certificates, agreement, signatures, and their data.

Everything is made in one directory, as ``securefed keygen``, ``init`` and ``sign`` would make it.
"""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from parties.key_files import write_new
from parties.keys import KeyRing, certificate_path, create_keys
from protocols.agreement import Agreement, bring_into_force, sign_agreement
from securefed.agreement_text import agreement_to_toml
from securefed.data.loaders import save_party_data
from securefed.data.table import Data
from securefed.demo.stages import Stage
from securefed.deployment import CERTIFICATES, KEY_RECORD, SIGNATURES, read_signatures
from securefed.extras import paillier_extra
from securefed.federation import MemberKeys

COORDINATOR: Final = "coordinator"
AUDITOR: Final = "auditor"
_LOG2_COST: Final = 14
"""scrypt cost of the demonstration's keys: their passphrase is random and lives as long as it."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything of one demonstration lies.

    Attributes:
        home: the directory.
        agreement: what every party signed.
        passphrase: of all keys.
        rings: everybody's keys, by name.
    """

    home: Path
    agreement: Agreement
    passphrase: str = field(repr=False)
    rings: Mapping[str, KeyRing] = field(repr=False)

    @property
    def auditor(self) -> KeyRing:
        """Keys with which the report on the ledger is signed."""
        return self.rings[AUDITOR]

    @property
    def agreement_file(self) -> Path:
        """The signed TOML file."""
        return self.home / "agreement.toml"

    @property
    def keys(self) -> Path:
        """Directory of everybody's keys; companies would each have their own."""
        return self.home / "keys"

    def state(self, node: str) -> Path:
        """Directory of a node's durable state."""
        return self.home / "state" / node

    def models(self, node: str) -> Path:
        """Directory of the final models at one node."""
        return self.home / "models" / node

    def node_options(self, node: str) -> list[str]:
        """Return the command-line options that every node of this workspace takes."""
        return [
            str(self.agreement_file),
            "--keys",
            str(self.keys),
            "--state",
            str(self.state(node)),
            "--json",
        ]

    def out_options(self, node: str) -> list[str]:
        """Return the options with which a node writes the final models."""
        return ["--out", str(self.models(node))]

    def data_file(self, party: str) -> Path:
        """A party's rows."""
        return self.home / "data" / f"{party}.npz"


def prepare(home: Path, parties: Mapping[str, Data], stage: Stage) -> Workspace:
    """Make keys, agreement, signatures, certificates and data files for one stage.

    Args:
        home: an empty directory.
        parties: rows of each company, by name.
        stage: what is computed, and what is promised.

    Raises:
        SecureFedError: something cannot be made or written.
    """
    passphrase = secrets.token_hex(32)
    rings = {
        name: create_keys(home / "keys", name, passphrase.encode(), log2_cost=_LOG2_COST)
        for name in (COORDINATOR, AUDITOR, *parties, *stage.sums.names)
    }
    agreement = stage.federation().agreement(
        {name: _public(ring) for name, ring in rings.items()},
        coordinator=COORDINATOR,
        address=f"localhost:{_free_port()}",
        auditors={AUDITOR: rings[AUDITOR].identity.public.raw.hex()},
    )
    made = Workspace(home, agreement, passphrase, rings)
    made.agreement_file.write_text(agreement_to_toml(agreement), encoding="utf-8")
    for directory in (SIGNATURES, CERTIFICATES, "data", "logs"):
        (home / directory).mkdir()
    for name, rows in parties.items():
        signature = sign_agreement(agreement, rings[name].identity)
        (home / SIGNATURES / f"{name}.sig").write_bytes(signature.to_json())
        save_party_data(made.data_file(name), rows)
    for name in (COORDINATOR, *stage.members):
        shutil.copyfile(certificate_path(made.keys, name), home / CERTIFICATES / f"{name}.pem")
    return made


def make_paillier_key(workspace: Workspace) -> None:
    """Make the key of an agreement: its record for all, an encrypted share for every trustee.

    All roles of the ceremony run in this process, which has everybody's keys anyway.

    Raises:
        MisuseError: the extra ``paillier`` is not installed.
        KeyFileError: a file cannot be written.
    """
    with paillier_extra():
        from parties.paillier_keys import share_path, write_share  # noqa: PLC0415 - an extra
        from securefed.ciphers import deal_here  # noqa: PLC0415 - an extra
    signed = bring_into_force(workspace.agreement, read_signatures(workspace.home / SIGNATURES))
    identities = {name: ring.identity for name, ring in workspace.rings.items()}
    for name, own in deal_here(signed, identities).items():
        if own.share is not None:
            path = share_path(workspace.keys, name, own.record)
            passphrase = workspace.passphrase.encode()
            write_share(path, own.share, own.record, passphrase, log2_cost=_LOG2_COST)
        if name == COORDINATOR:
            write_new(workspace.home / KEY_RECORD, own.record, private=False)


def _public(ring: KeyRing) -> MemberKeys:
    return MemberKeys(ring.identity.public.raw.hex(), ring.tls.fingerprint)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
