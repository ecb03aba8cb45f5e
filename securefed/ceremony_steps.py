"""The steps of a key ceremony, each in a process of its own, from files to files.

What a trustee has to remember between two steps lies encrypted beside its keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parties.core_files import forbid_core_file
from parties.key_files import flush_directory, publish, write_new
from parties.keys import KeyRing
from parties.paillier_keys import share_path, write_share
from parties.sealed_files import Purpose, read_secret, write_secret
from protocols.errors import KeyFileError, MisuseError, RosterError
from protocols.identity import VerifyKey
from protocols.paillier.dealing import CeremonyDealer, MakePrimes
from protocols.paillier.dealing_context import SESSION_BYTES, CeremonyContext
from protocols.paillier.dealing_messages import CeremonyTranscript
from protocols.paillier.dealing_primes import safe_primes
from protocols.paillier.dealing_trustee import CeremonyTrustee
from protocols.paillier.integers import mpz
from protocols.paillier.key_record import KeyRecord, deal_in_memory
from protocols.prg import RandomBytes
from protocols.wire import encode
from securefed.ceremony import Ceremony, KeyFacts
from securefed.ceremony_files import (
    DEALING,
    MAX_FILE_BYTES,
    SessionFile,
    read_envelope,
    read_record,
    read_session,
    refuse_existing,
)
from securefed.deployment import read_bytes

Tell = Callable[[], None]
"""Called whenever another window of candidates is searched for a safe prime."""

_PENDING: Final = "key for a ceremony"


@dataclass(frozen=True, slots=True)
class Steps(Ceremony):
    """The steps of those who hold secrets: dealer, trustees, key holder."""

    def start(self, name: str, keys: Path, out: Path) -> bytes:
        """Begin a session, in which the dealer deals once; return its 32 bytes.

        Args:
            name: the dealer.
            keys: directory of its keys.
            out: file for the trustees.

        Raises:
            AgreementError: another dealer, or none.
            KeyFileError: no keys of that name, or a file exists or cannot be written.
        """
        self.require_dealer(name)
        refuse_existing(out)
        if not (keys / name).is_dir():
            raise KeyFileError(f"{keys / name} is not there; run securefed keygen {name} first")
        session = secrets.token_bytes(SESSION_BYTES)
        write_new(_undealt(keys, name, session), b"", private=True)
        file = SessionFile(self.digest.hex(), name, session.hex())
        write_new(out, file.to_json(), private=False)
        return session

    def join(self, session: Path, ring: KeyRing, keys: Path, passphrase: bytes, out: Path) -> None:
        """Make a trustee's key for this session alone, keep it encrypted, and sign it.

        Raises:
            AgreementError: we are no trustee, or the session is for another agreement.
            KeyFileError: our key is another, we joined before, or a file cannot be written.
        """
        forbid_core_file()
        self.require_dealer()
        context = self.context(read_session(session, self.digest))
        refuse_existing(out)
        _require_trustee(self, context, ring)
        trustee = CeremonyTrustee(context, ring.identity, secrets.token_bytes)
        signed = trustee.announce()
        pending = _pending(keys, ring.name, context.session)
        if pending.exists():
            raise KeyFileError(
                f"{pending} exists: {ring.name} has joined this session; send the file that was "
                "made then, or ask the dealer for another session"
            )
        write_secret(pending, trustee.saved_key(), _purpose(context, ring.name), passphrase)
        write_new(out, encode(signed), private=False)

    def deal(
        self,
        session: Path,
        joined: Sequence[Path],
        ring: KeyRing,
        keys: Path,
        out: Path,
        tell: Tell,
    ) -> KeyFacts:
        """Make the key, share it, and forget all but the public part.

        Args:
            session: file that :func:`start` wrote.
            joined: the file of each trustee, in any order.
            ring: the dealer's.
            keys: directory of its keys.
            out: new directory, for the dealing and one sealed share for each trustee.
            tell: see :data:`Tell`.

        Raises:
            AgreementError: another dealer, or the session is for another agreement.
            PeerError: a trustee has not joined, or its file is not of this session; names it.
            MisuseError: this session has dealt, or was not started here.
            KeyFileError: a file cannot be read or written.
        """
        forbid_core_file()
        self.require_dealer(ring.name)
        context = self.context(read_session(session, self.digest))
        _require_key(ring, context.dealer)
        refuse_existing(out)
        dealer = CeremonyDealer(
            context, ring.identity, secrets.token_bytes, make_primes=_telling(tell)
        )
        waiting = {index: one.name for index, one in enumerate(context.trustees, start=1)}
        for path in joined:
            del waiting[dealer.receive_key(read_envelope(path, "deal-key"))]
        for name in waiting.values():
            raise RosterError(
                name, "deal-key", "has not joined; ask for its file and give it as well"
            )
        _claim(_undealt(keys, ring.name, context.session))
        dealing, sealed = dealer.deal()
        record = KeyRecord(context.session, CeremonyTranscript(dealing, ()))
        files = {DEALING: record.to_bytes()}
        for index, trustee in enumerate(context.trustees, start=1):
            files[f"{trustee.name}.sealed"] = sealed[index]
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            publish(out.parent, out.name, files)
        except OSError as error:
            raise KeyFileError(
                f"{out} cannot be written ({error.strerror}), and the key is gone; start another "
                "session"
            ) from error
        return KeyFacts.of(context, record)

    def confirm(
        self,
        dealing: Path,
        sealed: Path,
        ring: KeyRing,
        keys: Path,
        passphrase: bytes,
        out: Path,
    ) -> tuple[KeyFacts, Path]:
        """Check a dealing and a trustee's own share, keep the share encrypted, and countersign.

        A refusal leaves every file as it was, so that a wrong one can be put right; to the dealer
        it tells no more than its reason. What we countersign is the only dealing of its session,
        since the key that opens our share is destroyed before.

        Args:
            dealing: what the dealer gave to all.
            sealed: what it gave to us.
            ring: ours.
            keys: directory of our keys, which our share goes to.
            passphrase: of our keys.
            out: file for whoever finishes.

        Returns:
            What the key is, and where our share lies.

        Raises:
            AgreementError: we are no trustee.
            PeerError: any refusal; names the dealer.
            KeyFileError: we have not joined this session, or have confirmed a dealing of it; or a
                file cannot be read or written.
        """
        forbid_core_file()
        self.require_dealer()
        data, record = read_record(dealing)
        context = self.context(record.session)
        refuse_existing(out)
        _require_trustee(self, context, ring)
        pending = _pending(keys, ring.name, context.session)
        if not pending.exists():
            raise _nothing_pending(pending, ring.name)
        private = read_secret(pending, _purpose(context, ring.name), passphrase)
        trustee = CeremonyTrustee.resumed(context, ring.identity, secrets.token_bytes, private)
        signed = trustee.receive_dealing(
            record.transcript.dealing, read_bytes(sealed, MAX_FILE_BYTES)
        )
        share = share_path(keys, ring.name, data)
        # Left by a crash before the key was destroyed; nobody has our word for it yet.
        share.unlink(missing_ok=True)
        write_share(share, trustee.saved_share(), data, passphrase)
        try:
            pending.unlink()
        except FileNotFoundError as error:
            raise _nothing_pending(pending, ring.name) from error
        flush_directory(pending.parent)
        write_new(out, encode(signed), private=False)
        return KeyFacts.of(context, record), share

    def make_alone(
        self, ring: KeyRing, keys: Path, passphrase: bytes, out: Path, tell: Tell
    ) -> tuple[KeyFacts, Path]:
        """Make a key holder's key: it deals to itself, and passes every check of a self.

        Args:
            ring: the key holder's.
            keys: directory of its keys, which the secret goes to.
            passphrase: of its keys.
            out: file for the record, which every node needs.
            tell: see :data:`Tell`.

        Returns:
            What the key is, and where its secret lies.

        Raises:
            AgreementError: another key holder, or none.
            KeyFileError: our key is another, or a file exists or cannot be written.
        """
        forbid_core_file()
        self.require_holder(ring.name)
        refuse_existing(out)
        _require_key(ring, self.context(bytes(SESSION_BYTES)).dealer)
        data, shares = deal_in_memory(
            self.agreement,
            self.digest,
            {ring.name: ring.identity},
            secrets.token_bytes,
            make_primes=_telling(tell),
        )
        share = share_path(keys, ring.name, data)
        write_share(share, shares[ring.name], data, passphrase)
        write_new(out, data, private=False)
        return self.check(out), share


def _telling(tell: Tell) -> MakePrimes:
    def make(bits: int, random: RandomBytes) -> tuple[mpz, mpz]:
        def drawn(count: int) -> bytes:
            tell()
            return random(count)

        return safe_primes(bits, drawn)

    return make


def _undealt(keys: Path, name: str, session: bytes) -> Path:
    """Where it lies that a session may still deal."""
    return keys / name / f"ceremony-{session.hex()[:16]}.undealt"


def _claim(undealt: Path) -> None:
    try:
        undealt.unlink()
    except FileNotFoundError as error:
        raise MisuseError(
            "this session has dealt already, or was not started with these keys; a session deals "
            "once, so start another and let every trustee join it"
        ) from error
    flush_directory(undealt.parent)


def _pending(keys: Path, name: str, session: bytes) -> Path:
    return keys / name / f"ceremony-{session.hex()[:16]}.pending"


def _purpose(context: CeremonyContext, name: str) -> Purpose:
    return Purpose(_PENDING, name, context.agreement, context.session)


def _nothing_pending(pending: Path, name: str) -> KeyFileError:
    return KeyFileError(
        f"{pending} is not there: {name} has not joined this session with these keys, or has "
        "confirmed its dealing, which a session has one of; for another try start another session"
    )


def _require_trustee(ceremony: Ceremony, context: CeremonyContext, ring: KeyRing) -> None:
    ceremony.require_trustee(ring.name)
    _require_key(ring, context.trustees[context.index(ring.name, "deal-key") - 1])


def _require_key(ring: KeyRing, agreed: VerifyKey) -> None:
    if ring.identity.public.raw != agreed.raw:
        raise KeyFileError(f"the key of {ring.name} is not the one that the agreement names")
