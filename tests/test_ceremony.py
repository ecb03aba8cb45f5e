"""The key ceremony by files: what the commands write, refuse and never show."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.agreements import encrypted, party_name, plain_agreement, plain_toml
from support.commands import WORDS, Done, Run, commands
from support.trustees import encrypt_all, fixed_primes, primes

from parties.keys import KeyRing, create_keys
from parties.paillier_keys import read_share, share_path, write_share
from protocols.agreement import Agreement, load_agreement, sign_agreement
from protocols.errors import KeyFileError
from protocols.paillier.dealing_trustee import CeremonyTrustee
from protocols.paillier.integers import invert
from protocols.paillier.key_record import KeyRecord, read_key_record
from protocols.paillier.threshold import combine, partial_decryption
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from securefed.cli.exit_codes import ExitCode
from securefed.signing import write_signature

PARTIES = [party_name(number) for number in range(3)]
DEALER, HOLDER = "dealer", "key-holder"
AGREEMENTS = {
    "shared": ("layered", "dealer"),
    "other": ("paillier", "dealer"),
    "held": ("layered", "key_holder"),
}


@pytest.fixture(scope="module")
def quick_passwords() -> Iterator[None]:
    """Every command stretches a passphrase; what that costs is tested elsewhere."""
    scrypt = hashlib.scrypt

    def quick(words: bytes, **how: Any) -> bytes:
        return scrypt(words, **how | {"n": 2})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "scrypt", quick)
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, quick_passwords: None) -> Path:
    """Everybody's keys, and agreements with their signatures."""
    home = tmp_path_factory.mktemp("prepared")
    rings = {
        name: create_keys(home / "keys", name, WORDS.encode())
        for name in (*PARTIES, DEALER, HOLDER)
    }
    for file, (mode, who) in AGREEMENTS.items():
        text = plain_toml(with_keys(encrypted(plain_agreement(3), mode, who), rings))
        (home / f"{file}.toml").write_text(text)
        for name in PARTIES:
            signature = sign_agreement(load_agreement(text), rings[name].identity)
            write_signature(home / f"{file}-signatures", signature)
    return home


def with_keys(plain: Any, rings: dict[str, KeyRing]) -> Any:
    if isinstance(plain, list):
        return [with_keys(one, rings) for one in plain]
    if not isinstance(plain, dict):
        return plain
    found = {key: with_keys(value, rings) for key, value in plain.items()}
    ring = rings.get(str(plain.get("name")))
    return found | ({"public_key": ring.identity.public.raw.hex()} if ring else {})


@dataclass
class Stage:
    """One directory in which a ceremony is played; every role has its keys below ``keys``."""

    run: Run
    home: Path
    snapshots: Path
    file: str = "shared"
    done: list[Done] = field(default_factory=list)

    @property
    def agreement(self) -> Agreement:
        return load_agreement((self.home / f"{self.file}.toml").read_text())

    def call(self, *words: object, code: int = ExitCode.OK) -> Done:
        signed = () if "check" in words else ("--signatures", f"{self.file}-signatures")
        done = self.run(*words, *signed)
        assert done.code == code, (words, done)
        assert "Traceback" not in done.err
        self.done.append(done)
        return done

    def ceremony(self, step: str, *words: object, code: int = ExitCode.OK) -> Done:
        return self.call("ceremony", step, f"{self.file}.toml", *words, code=code)

    def start(self, out: str = "session.json", **kwargs: Any) -> Done:
        return self.ceremony("start", "--as", DEALER, "--keys", "keys", "--out", out, **kwargs)

    def join(
        self, name: str, session: str = "session.json", out: str | None = None, **kwargs: Any
    ) -> Done:
        words = ("--as", name, "--keys", "keys", "--session", session)
        return self.ceremony("join", *words, "--out", out or f"{name}.joined", **kwargs)

    def deal(
        self,
        *joined: str,
        session: str = "session.json",
        out: str = "dealt",
        name: str = DEALER,
        **kwargs: Any,
    ) -> Done:
        joined = joined or tuple(f"{name}.joined" for name in PARTIES)
        words = ("--as", name, "--keys", "keys", "--session", session, "--out", out)
        return self.ceremony("deal", *joined, *words, **kwargs)

    def confirm(
        self,
        name: str,
        dealt: str = "dealt",
        sealed: str | None = None,
        out: str | None = None,
        **kwargs: Any,
    ) -> Done:
        files = (f"{dealt}/dealing", sealed or f"{dealt}/{name}.sealed")
        words = ("--as", name, "--keys", "keys", "--out", out or f"{name}.confirmed")
        return self.ceremony("confirm", *files, *words, **kwargs)

    def finish(self, *confirmed: str, out: str = "paillier.key", **kwargs: Any) -> Done:
        confirmed = confirmed or tuple(f"{name}.confirmed" for name in PARTIES)
        return self.ceremony("finish", "dealt/dealing", *confirmed, "--out", out, **kwargs)

    def check(self, *words: object, record: str = "paillier.key", **kwargs: Any) -> Done:
        return self.ceremony("check", record, *words, **kwargs)

    def joined(self) -> Stage:
        return self._after("joined", self.join_all)

    def dealt(self) -> Stage:
        return self._after("dealt", lambda: self.joined().deal())

    def confirmed(self) -> Stage:
        return self._after("confirmed", self._confirm_all)

    def finished(self) -> Stage:
        return self._after("finished", lambda: self.confirmed().finish())

    def _after(self, step: str, play: Callable[[], object]) -> Stage:
        """Go on from a copy of what the first test to come here has played."""
        kept = self.snapshots / step
        if kept.exists():
            shutil.copytree(kept, self.home, dirs_exist_ok=True)
        else:
            play()
            shutil.copytree(self.home, kept)
        return self

    def join_all(self) -> None:
        self.start()
        for name in PARTIES:
            self.join(name)

    def _confirm_all(self) -> None:
        self.dealt()
        for name in PARTIES:
            self.confirm(name)

    def keygen(self, name: str = HOLDER, out: str = "paillier.key", **kwargs: Any) -> Done:
        words = ("--as", name, "--keys", "keys", "--out", out)
        return self.call("keyholder", "keygen", f"{self.file}.toml", *words, **kwargs)

    def record(self) -> bytes:
        return (self.home / "paillier.key").read_bytes()

    def share(self, name: str) -> tuple[ThresholdKey, KeyShare]:
        record, agreement = self.record(), self.agreement
        path = share_path(self.home / "keys", name, record)
        return read_share(path, name, record, agreement, agreement.digest(), WORDS.encode())

    def files(self, pattern: str = "*") -> set[str]:
        return {
            path.relative_to(self.home).as_posix()
            for path in self.home.rglob(pattern)
            if path.is_file()
        }


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


@pytest.fixture
def stage(
    prepared: Path,
    snapshots: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Stage:
    """An empty ceremony, with safe primes that everybody knows."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("securefed.ceremony_steps.safe_primes", fixed_primes)
    return Stage(commands(monkeypatch, capsys, tmp_path), tmp_path, snapshots)


def bend(path: Path, place: int = -1) -> bytes:
    """Change one byte of a file; return what it held."""
    data = path.read_bytes()
    bent = bytearray(data)
    bent[place] ^= 1
    path.write_bytes(bent)
    return data


# The whole ceremony


def test_a_ceremony_by_files_ends_with_a_key_that_any_quorum_of_the_parties_opens_with(
    stage: Stage,
) -> None:
    stage.finished()
    held = [stage.share(name) for name in PARTIES]
    key = held[0][0]
    assert key.threshold == stage.agreement.quorum == 3
    plain = [0, 12345, int(key.n) - 1]
    ciphertexts = encrypt_all(key, plain)
    made = [partial_decryption(key, share, ciphertexts) for _, share in held]
    assert combine(key, ciphertexts, made) == plain
    said = stage.check("--json").json
    assert said == {
        "valid": True,
        "key": key.digest().hex(),
        "record": said["record"],
        "session": json.loads((stage.home / "session.json").read_text())["session"],
        "key_bits": 2048,
        "dealer": DEALER,
        "trustees": PARTIES,
        "threshold": 3,
        "countersigned": 3,
        "held_alone": False,
    }
    assert key.digest().hex() in stage.check().out


def test_the_key_of_a_key_holder_is_made_by_one_command_and_opens_alone(stage: Stage) -> None:
    stage.file = "held"
    assert "back it up" in stage.keygen().out
    key, share = stage.share(HOLDER)
    plain = [7, int(key.n) - 1]
    ciphertexts = encrypt_all(key, plain)
    assert combine(key, ciphertexts, [partial_decryption(key, share, ciphertexts)]) == plain
    said = stage.check("--json").json
    assert (said["dealer"], said["trustees"], said["threshold"]) == (HOLDER, [HOLDER], 1)
    assert said["held_alone"]
    stage.keygen(code=ExitCode.KEYS)


def test_the_dealer_searches_for_primes_of_the_agreed_size_from_fresh_bytes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watched(bits: int, random: Any) -> Any:
        asked.append((bits, len(random(16))))
        return primes(2048)

    monkeypatch.setattr("securefed.ceremony_steps.safe_primes", watched)
    stage.joined().deal()
    assert asked == [(2048, 16)]


def test_every_step_tells_the_same_in_json(stage: Stage) -> None:
    keys = ("--keys", "keys", "--json")
    began = stage.ceremony("start", "--as", DEALER, *keys, "--out", "session.json").json
    assert began["trustees"] == PARTIES
    words = ("--as", "party-1", *keys, "--session", "session.json", "--out", "party-1.joined")
    assert stage.ceremony("join", *words).json == {"file": "party-1.joined", "name": "party-1"}
    for name in ("party-0", "party-2"):
        stage.join(name)
    words = ("--as", DEALER, *keys, "--session", "session.json", "--out", "dealt")
    said = [stage.ceremony("deal", *(f"{name}.joined" for name in PARTIES), *words).json]
    assert said[0]["directory"] == "dealt"
    words = ("dealt/dealing", "dealt/party-1.sealed", "--as", "party-1", *keys, "--out", "signed")
    said.append(stage.ceremony("confirm", *words).json)
    assert (stage.home / said[1]["share"]).is_file()
    assert {(one["key"], one["session"]) for one in said} == {(said[0]["key"], began["session"])}
    for name in ("party-0", "party-2"):
        stage.confirm(name)
    files = ["party-0.confirmed", "signed", "party-2.confirmed"]
    words = ("--out", "paillier.key", "--json")
    said = [stage.ceremony("finish", "dealt/dealing", *files, *words).json]
    said.append(stage.check("--as", "party-1", *keys).json)
    assert said[0].pop("file") == "paillier.key"
    assert Path(said[1].pop("share")).parent == Path("keys/party-1")
    assert said[1].pop("valid")
    assert said[1].pop("name") == "party-1"
    assert said[0] == said[1]


# Secrets


def secrets_of(stage: Stage, names: list[str], drawn: list[bytes]) -> list[int]:
    first, second = (int(one) for one in fixed_primes(2048, bytes))
    order = (first // 2) * (second // 2)
    key, _ = stage.share(names[0])
    shares = [int(stage.share(name)[1].value) for name in names]
    root = int(invert(key.plain_modulus, order))
    made = [first, second, first // 2, second // 2, order, 4 * order, root, *shares]
    return made + [int.from_bytes(one, "big") for one in drawn]


def forms(secret: int) -> Iterator[bytes]:
    length = (secret.bit_length() + 7) // 8
    for order in ("big", "little"):
        raw = secret.to_bytes(length, order)
        yield raw
        yield raw.hex().encode()
        # Wherever it may begin in base64: the middle, which does not depend on what is around.
        for shift in range(3):
            yield base64.b64encode(bytes(shift) + raw)[4:-4]
    yield str(secret).encode()


@pytest.mark.parametrize("file", ["shared", "held"])
def test_no_file_and_no_output_holds_a_secret(
    stage: Stage, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bytes] = []
    saved_key = CeremonyTrustee.saved_key

    def watched(trustee: CeremonyTrustee) -> bytes:
        drawn.append(saved_key(trustee))
        return drawn[-1]

    monkeypatch.setattr(CeremonyTrustee, "saved_key", watched)
    stage.file = file
    kept: list[bytes] = []

    def keep() -> None:
        kept.extend(path.read_bytes() for path in stage.home.rglob("*") if path.is_file())

    if file == "held":
        stage.keygen()
        names = [HOLDER]
    else:
        stage.join_all()
        keep()
        stage.deal()
        keep()
        for name in PARTIES:
            stage.confirm(name)
        stage.finish()
        stage.check("--as", "party-2", "--keys", "keys")
        names = PARTIES
        assert len(drawn) == 3
    keep()
    kept += [text.encode() for done in stage.done for text in (done.out, done.err)]
    # What is armoured is searched as it is and without its line ends and armour.
    kept += [
        base64.b64decode(body)
        for data in kept
        for body in re.findall(rb"SECRET-----\n([A-Za-z0-9+/=\n]+)-----END", data)
    ]
    flat = [data.replace(b"\n", b"") for data in kept]
    for secret in secrets_of(stage, names, drawn):
        for form in forms(secret):
            assert not any(form in data for data in itertools.chain(kept, flat))
    assert not any(WORDS.encode() in data for data in kept)
    # The search does find what is there to be found.
    key, _ = stage.share(names[0])
    assert any(form in data for form in forms(int(key.n)) for data in kept)


def test_private_files_are_for_their_owner_alone_and_the_key_of_a_session_is_destroyed(
    stage: Stage,
) -> None:
    stage.joined()
    pending = stage.files("*.pending")
    assert {Path(one).parent.as_posix() for one in pending} == {f"keys/{name}" for name in PARTIES}
    stage.deal()
    assert not stage.files("*.undealt")
    for name in PARTIES:
        stage.confirm(name)
    assert not stage.files("*.pending")
    shares = stage.files("*.share")
    assert len(shares) == 3
    for one in (*shares, "dealt/dealing", *(f"dealt/{name}.sealed" for name in PARTIES)):
        assert stat.S_IMODE((stage.home / one).stat().st_mode) == 0o600
    stage.finish()
    [share] = [one for one in shares if "party-1" in one]
    (stage.home / share).chmod(0o640)
    with pytest.raises(KeyFileError, match="run chmod 600"):
        stage.share("party-1")


# Shares at rest


def test_a_share_opens_with_its_passphrase_record_and_owner_only(stage: Stage) -> None:
    stage.finished()
    record, agreement = stage.record(), stage.agreement
    digest = agreement.digest()
    mine, theirs = (share_path(stage.home / "keys", name, record) for name in PARTIES[:2])
    assert read_share(mine, "party-0", record, agreement, digest, WORDS.encode())
    with pytest.raises(KeyFileError, match="wrong passphrase, or damaged; try again"):
        read_share(mine, "party-0", record, agreement, digest, b"another passphrase")
    with pytest.raises(KeyFileError, match="take the file that was made for it"):
        read_share(theirs, "party-0", record, agreement, digest, WORDS.encode())
    kept = mine.read_bytes()
    for place in range(3, len(kept), len(kept) // 4):
        bend(mine, place)
        with pytest.raises(KeyFileError):
            read_share(mine, "party-0", record, agreement, digest, WORDS.encode())
        mine.write_bytes(kept)
    mine.unlink()
    with pytest.raises(KeyFileError, match="is not there: the share of party-0"):
        read_share(mine, "party-0", record, agreement, digest, WORDS.encode())


def test_a_share_of_another_dealing_of_the_same_agreement_is_refused(stage: Stage) -> None:
    stage.file = "held"
    stage.keygen(out="first.key")
    stage.keygen()
    first, second = (
        share_path(stage.home / "keys", HOLDER, (stage.home / name).read_bytes())
        for name in ("first.key", "paillier.key")
    )
    assert first != second
    assert stage.share(HOLDER)
    second.write_bytes(first.read_bytes())
    with pytest.raises(KeyFileError, match="not the share of the Paillier key of key-holder"):
        stage.share(HOLDER)


def test_check_tells_a_trustee_whether_its_share_opens(stage: Stage) -> None:
    stage.finished()
    mine = ("--as", "party-0", "--keys", "keys")
    assert "opens, and is a share of it" in stage.check(*mine).out
    (stage.home / "words").write_text("another passphrase")
    (stage.home / "words").chmod(0o600)
    stage.check(*mine, "--passphrase-file", "words", code=ExitCode.KEYS)
    assert "wrong passphrase" in stage.done[-1].err
    stage.check("--as", "party-0", code=ExitCode.USAGE)
    stage.check("--as", HOLDER, "--keys", "keys", code=ExitCode.AGREEMENT)
    assert "gives key-holder no share" in stage.done[-1].err


# Crashes, replays and mistakes


def test_a_session_deals_once(stage: Stage) -> None:
    stage.dealt()
    again = stage.deal(out="again", code=ExitCode.USAGE)
    assert "this session has dealt already" in again.err
    assert not (stage.home / "again").exists()
    for name in PARTIES:
        stage.confirm(name)
    stage.finish()


def test_a_crash_while_dealing_spends_the_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.joined()

    def crash(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("securefed.ceremony_steps.safe_primes", crash)
    stage.deal(code=ExitCode.INTERRUPTED)
    monkeypatch.setattr("securefed.ceremony_steps.safe_primes", fixed_primes)
    assert "start another" in stage.deal(code=ExitCode.USAGE).err


def test_mistakes_before_dealing_do_not_spend_the_session(stage: Stage) -> None:
    stage.joined()
    files = [f"{name}.joined" for name in PARTIES]
    missing = stage.deal(files[0], files[2], code=ExitCode.PEER)
    assert "party-1 at deal-key: has not joined" in missing.err
    twice = stage.deal(*files, files[0], code=ExitCode.PEER)
    assert "party-0 at deal-key: has sent a key already" in twice.err
    kept = bend(stage.home / files[1])
    assert "party-1 at deal-key" in stage.deal(code=ExitCode.PEER).err
    (stage.home / files[1]).write_bytes(kept)
    (stage.home / "taken").mkdir()
    assert "already exists" in stage.deal(out="taken", code=ExitCode.KEYS).err
    stage.deal()


def test_who_joined_another_session_or_agreement_is_refused_by_name(stage: Stage) -> None:
    stage.joined()
    stage.start("second.json")
    stage.join("party-1", "second.json", "late.joined")
    files = [f"{name}.joined" for name in PARTIES]
    mixed = stage.deal(files[0], "late.joined", files[2], code=ExitCode.PEER)
    assert "party-1 at deal-key: belongs to another ceremony" in mixed.err
    stage.file = "other"
    elsewhere = stage.join("party-0", out="x.joined", code=ExitCode.AGREEMENT)
    assert "belongs to another agreement" in elsewhere.err
    stage.start("other.json")
    stage.join("party-0", "other.json", "other.joined")
    stage.file = "shared"
    foreign = stage.deal("other.joined", *files[1:], code=ExitCode.PEER)
    assert "party-0 at deal-key: the message belongs to another agreement" in foreign.err


def test_a_trustee_joins_a_session_once(stage: Stage) -> None:
    stage.joined()
    again = stage.join("party-0", out="again.joined", code=ExitCode.KEYS)
    assert "party-0 has joined this session" in again.err
    assert "already exists" in stage.join("party-0", code=ExitCode.KEYS).err


def test_a_refused_dealing_changes_nothing_and_the_right_one_is_taken_after_it(
    stage: Stage,
) -> None:
    stage.dealt()
    before = stage.files()
    own = stage.home / "dealt" / "party-0.sealed"
    kept = bend(own)
    tampered = stage.confirm("party-0", code=ExitCode.PEER)
    assert "dealer at deal: the sealed share is not the one it signed" in tampered.err
    own.write_bytes(kept)
    swapped = stage.confirm("party-0", sealed="dealt/party-1.sealed", code=ExitCode.PEER)
    assert "not the one it signed" in swapped.err
    kept = bend(stage.home / "dealt" / "dealing", -10)
    assert "dealer at deal: the signature is not valid" in stage.confirm("party-0", code=6).err
    (stage.home / "dealt" / "dealing").write_bytes(kept)
    (stage.home / "words").write_text("another passphrase")
    assert stage.files() == before | {"words"}
    stage.confirm("party-0")


def test_a_session_is_confirmed_once(stage: Stage) -> None:
    stage.dealt()
    stage.confirm("party-0")
    again = stage.confirm("party-0", out="again", code=ExitCode.KEYS)
    assert "has confirmed its dealing" in again.err
    assert "already exists" in stage.confirm("party-0", code=ExitCode.KEYS).err


def test_a_crash_between_share_and_signature_can_be_gone_on_from(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.dealt()
    unlink = Path.unlink

    def crash(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.suffix == ".pending":
            raise KeyboardInterrupt
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", crash)
    stage.confirm("party-0", code=ExitCode.INTERRUPTED)
    monkeypatch.setattr(Path, "unlink", unlink)
    assert not (stage.home / "party-0.confirmed").exists()
    for name in PARTIES:
        stage.confirm(name)
    stage.finish()
    assert stage.share("party-0")


def test_two_dealings_of_one_session_are_not_both_confirmed(stage: Stage) -> None:
    """A dealer that cheats keeps its session open and deals twice."""
    stage.joined()
    [undealt] = stage.files("*.undealt")
    stage.deal()
    (stage.home / undealt).touch()
    stage.deal(out="second")
    stage.confirm("party-0")
    refused = stage.confirm("party-0", "second", out="again", code=ExitCode.KEYS)
    assert "has confirmed its dealing" in refused.err
    stage.confirm("party-1", "second")
    stage.confirm("party-2")
    split = stage.finish(code=ExitCode.PEER)
    assert "party-1 at deal-confirm: countersigned another dealing" in split.err


def test_a_key_is_not_in_force_without_every_countersignature(stage: Stage) -> None:
    stage.confirmed()
    files = [f"{name}.confirmed" for name in PARTIES]
    missing = stage.finish(*files[:2], code=ExitCode.PEER)
    assert "party-2 at deal-confirm: has not countersigned; 2 of 3" in missing.err
    twice = stage.finish(*files, files[1], code=ExitCode.PEER)
    assert "party-1 at deal-confirm: is given twice" in twice.err
    wrong = stage.finish(*files[:2], "party-2.joined", code=ExitCode.PEER)
    assert "party-2 at" in wrong.err
    kept = bend(stage.home / "dealt" / "dealing", -10)
    unsigned = stage.finish(code=ExitCode.PEER)
    assert "dealer at deal: the signature is not valid" in unsigned.err
    (stage.home / "dealt" / "dealing").write_bytes(kept)
    assert not (stage.home / "paillier.key").exists()
    # Nor does a share open beside a dealing that not all have signed.
    shutil.copy(stage.home / "dealt" / "dealing", stage.home / "paillier.key")
    assert "0 of 3 trustees countersigned" in stage.check(code=ExitCode.PEER).err
    with pytest.raises(Exception, match="0 of 3 trustees countersigned"):
        stage.share("party-0")
    (stage.home / "paillier.key").unlink()
    stage.finish(*files[::-1])


def test_two_commands_at_once_do_not_both_confirm(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.dealt()
    [pending] = stage.files("party-0/*.pending")

    def slow(*args: Any) -> None:
        write_share(*args)
        (stage.home / pending).unlink()  # the other command was quicker

    monkeypatch.setattr("securefed.ceremony_steps.write_share", slow)
    late = stage.confirm("party-0", code=ExitCode.KEYS)
    assert "has confirmed its dealing" in late.err
    assert not (stage.home / "party-0.confirmed").exists()


def test_a_dealing_that_cannot_be_written_is_gone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.joined()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("securefed.ceremony_steps.publish", full)
    lost = stage.deal(code=ExitCode.KEYS)
    assert "No space left on device" in lost.err
    assert "start another session" in lost.err
    assert "has dealt already" in stage.deal(code=ExitCode.USAGE).err


def test_what_is_no_file_of_the_step_is_refused_with_what_to_do(stage: Stage) -> None:
    (stage.home / "junk").write_bytes(b"\xc1 no file of any step")
    for done, words in (
        (stage.join("party-0", "junk", code=ExitCode.AGREEMENT), "is no session of a ceremony"),
        (stage.join("party-0", "shared.toml", code=ExitCode.AGREEMENT), "ask the dealer for"),
        (stage.check(record="junk", code=ExitCode.PEER), "junk at deal: not a KeyRecord"),
    ):
        assert words in done.err
    stage.joined()
    stage.deal("junk", "party-1.joined", "party-2.joined", code=ExitCode.PEER)
    assert "junk at deal-key: not a Envelope" in stage.done[-1].err
    shutil.rmtree(stage.home / "keys" / DEALER)
    assert "run securefed keygen dealer" in stage.start("again.json", code=ExitCode.KEYS).err


# Who may do what


def test_nothing_is_made_for_an_agreement_that_is_not_signed_by_all(stage: Stage) -> None:
    stage.confirmed()
    (stage.home / "shared-signatures" / "party-1.sig").unlink()
    for refused in (
        stage.start("again.json", code=ExitCode.AGREEMENT),
        stage.join("party-0", out="again", code=ExitCode.AGREEMENT),
        stage.deal(out="again", code=ExitCode.AGREEMENT),
        stage.confirm("party-0", out="again", code=ExitCode.AGREEMENT),
        stage.finish(code=ExitCode.AGREEMENT),
    ):
        assert "missing from party-1" in refused.err
    stage.file = "held"
    (stage.home / "held-signatures" / "party-0.sig").unlink()
    assert "missing from party-0" in stage.keygen(code=ExitCode.AGREEMENT).err


def test_everybody_has_the_place_that_the_agreement_gives(stage: Stage) -> None:
    stage.joined()
    for done, words in (
        (stage.join(DEALER, code=ExitCode.AGREEMENT), "gives dealer no share"),
        (stage.deal(name="party-0", code=ExitCode.AGREEMENT), "is dealer, not party-0"),
        (stage.keygen(code=ExitCode.AGREEMENT), "the parties share the key"),
    ):
        assert words in done.err
    stage.file = "held"
    for done, words in (
        (stage.start("x.json", code=ExitCode.AGREEMENT), "a key holder makes its key alone"),
        (stage.keygen("party-0", code=ExitCode.AGREEMENT), "is key-holder, not party-0"),
    ):
        assert words in done.err


def test_keys_that_the_agreement_does_not_name_are_refused(stage: Stage) -> None:
    stage.joined()
    shutil.rmtree(stage.home / "keys" / "party-0")
    shutil.rmtree(stage.home / "keys" / DEALER)
    for name in ("party-0", DEALER):
        create_keys(stage.home / "keys", name, WORDS.encode())
    for done in (
        stage.join("party-0", out="x", code=ExitCode.KEYS),
        stage.deal(code=ExitCode.KEYS),
    ):
        assert "is not the one that the agreement names" in done.err


def test_an_agreement_without_ciphertexts_needs_no_key(stage: Stage) -> None:
    (stage.home / "plain.toml").write_text(plain_toml(plain_agreement(3)))
    refused = stage.run("ceremony", "check", "plain.toml", "session.json")
    assert refused.code == ExitCode.USAGE  # there is no such file
    stage.start()
    refused = stage.run("ceremony", "check", "plain.toml", "session.json")
    assert refused.code == ExitCode.AGREEMENT
    assert "names nobody who makes a key" in refused.err


def test_without_the_extra_the_commands_say_what_to_install(stage: Stage) -> None:
    code = (
        "import sys; sys.modules['gmpy2'] = None; "
        "sys.argv = ['securefed', 'ceremony', 'check', 'shared.toml', 'shared.toml']; "
        "from securefed.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert "pip install 'securefed[paillier]'" in done.stderr


# The record alone


def test_anybody_checks_a_record_from_the_agreement_alone(stage: Stage) -> None:
    stage.finished()
    auditor = stage.home / "auditor"
    auditor.mkdir()
    shutil.copy(stage.home / "shared.toml", auditor)
    shutil.copy(stage.home / "paillier.key", auditor)
    done = stage.run("ceremony", "check", "auditor/shared.toml", "auditor/paillier.key")
    assert done.code == ExitCode.OK
    wrong = stage.run("ceremony", "check", "other.toml", "paillier.key", "--json")
    assert wrong.code == ExitCode.PEER
    assert wrong.json["party"] == DEALER
    assert wrong.json["error"] == "AgreementMismatchError"
    held = stage.run("ceremony", "check", "held.toml", "paillier.key")
    assert held.code == ExitCode.PEER
    for place in (0, 40, 5000, -1):
        kept = bend(stage.home / "paillier.key", place)
        stage.check(code=ExitCode.PEER)
        (stage.home / "paillier.key").write_bytes(kept)


def test_finishing_twice_gives_the_same_bytes_and_replaces_nothing(stage: Stage) -> None:
    stage.finished()
    first = stage.record()
    assert "already exists" in stage.finish(code=ExitCode.KEYS).err
    stage.finish("party-2.confirmed", "party-0.confirmed", "party-1.confirmed", out="again.key")
    assert (stage.home / "again.key").read_bytes() == first
    record = KeyRecord.from_bytes(first, party="")
    agreement = stage.agreement
    assert read_key_record(first, agreement, agreement.digest(), party="").trustees == 3
    assert [one.sender for one in record.transcript.countersignatures] == PARTIES
