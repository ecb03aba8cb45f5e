"""Key files: whole or absent, unreadable to others, useless without the passphrase."""

from __future__ import annotations

import os
import re
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parties import key_files
from parties.key_files import MAX_KEY_FILE_BYTES, stretch, write_new
from parties.keys import (
    ENVIRONMENT_VARIABLE,
    KeyRing,
    certificate_path,
    create_keys,
    load_keys,
    read_passphrase,
)
from parties.sealed_files import Purpose, read_secret, write_secret
from parties.transport.tls import PinnedPeer
from protocols.errors import KeyFileError

PASSPHRASE = b"correct horse battery"
CHEAP = 14


def create(directory: Path, name: str = "alpha") -> KeyRing:
    return create_keys(directory, name, PASSPHRASE, log2_cost=CHEAP)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    create(directory)
    return directory


def test_keys_come_back_as_they_were_made(tmp_path: Path) -> None:
    made = create(tmp_path / "new" / "place")
    opened = load_keys(tmp_path / "new" / "place", "alpha", PASSPHRASE)
    assert opened.name == "alpha"
    assert opened.identity.public.raw == made.identity.public.raw
    assert opened.tls == made.tls
    envelope = opened.identity.seal(agreement=bytes(32), round_=1, step="submit", payload=b"x")
    made.identity.public.verify(envelope)


def test_the_default_cost_of_a_guess_is_128_mebibytes(tmp_path: Path) -> None:
    create_keys(tmp_path, "alpha", PASSPHRASE)
    assert b"scrypt log2_n=17 r=8 p=1 " in (tmp_path / "alpha" / "identity.pem").read_bytes()
    assert load_keys(tmp_path, "alpha", PASSPHRASE).name == "alpha"


def test_the_stretching_is_that_of_rfc_7914() -> None:
    # Section 12, third vector, has N = 16384, r = 8, p = 1.
    expected = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    assert stretch(b"pleaseletmein", b"SodiumChloride", 14) == expected.encode()


def test_private_files_are_readable_by_their_owner_alone_and_nothing_else_is_left(
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        create(tmp_path / "keys")
    finally:
        os.umask(before)
    assert [entry.name for entry in (tmp_path / "keys").iterdir()] == ["alpha"]
    home = tmp_path / "keys" / "alpha"
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in home.iterdir()}
    assert modes == {"identity.pem": 0o600, "tls.pem": 0o600, "alpha.pem": 0o644}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_no_private_key_lies_open_in_any_file(stored: Path) -> None:
    ring = load_keys(stored, "alpha", PASSPHRASE)
    secret = ring.identity._key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    body = b"".join(ring.tls.private_key_pem.splitlines()[1:-1])
    for file in (stored / "alpha").iterdir():
        content = file.read_bytes()
        assert secret not in content
        assert secret.hex().encode() not in content
        assert body[:40] not in content.replace(b"\n", b"")
        assert PASSPHRASE not in content
        if file.name != "alpha.pem":
            assert b"BEGIN ENCRYPTED PRIVATE KEY" in content


def test_the_derived_passphrase_is_the_only_one_that_opens_the_pem(stored: Path) -> None:
    sealed = key_files.read_sealed(stored / "alpha" / "identity.pem")
    with pytest.raises(ValueError, match=r"password|decrypt"):
        serialization.load_pem_private_key(sealed.pem, PASSPHRASE)
    derived = stretch(PASSPHRASE, sealed.salt, CHEAP)
    assert serialization.load_pem_private_key(sealed.pem, derived)


def test_the_text_of_a_key_ring_shows_public_halves_only(stored: Path) -> None:
    ring = load_keys(stored, "alpha", PASSPHRASE)
    assert "PRIVATE" not in repr(ring)
    assert "private_key" not in repr(ring)


def test_the_certificate_is_ready_to_be_pinned_by_the_other_side(stored: Path) -> None:
    ring = load_keys(stored, "alpha", PASSPHRASE)
    pem = certificate_path(stored, "alpha").read_bytes()
    assert PinnedPeer("alpha", pem, ring.tls.fingerprint).name == "alpha"


def test_the_opened_tls_key_serves_a_tls_context(stored: Path, tmp_path: Path) -> None:
    ring = load_keys(stored, "alpha", PASSPHRASE)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(ring.tls.private_key_pem + ring.tls.certificate_pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain)


@pytest.mark.parametrize("wrong", [b"incorrect horse", PASSPHRASE + b" ", PASSPHRASE[:-1]])
def test_a_wrong_passphrase_opens_nothing_and_is_not_repeated(stored: Path, wrong: bytes) -> None:
    with pytest.raises(KeyFileError, match="alpha does not open") as caught:
        load_keys(stored, "alpha", wrong)
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize("passphrase", [b"", b"1234567", b"x" * 1024])
def test_a_passphrase_of_unusable_length_makes_and_opens_nothing(
    stored: Path, tmp_path: Path, passphrase: bytes
) -> None:
    with pytest.raises(KeyFileError, match=f"has {len(passphrase)} bytes; use 8 to 1023"):
        create_keys(tmp_path / "keys", "alpha", passphrase)
    assert not (tmp_path / "keys").exists()
    with pytest.raises(KeyFileError, match=f"has {len(passphrase)} bytes"):
        load_keys(stored, "alpha", passphrase)


@pytest.mark.parametrize("name", ["", "..", "../alpha", "a/b", "/etc", "Alpha", "a\n", "a\x00b"])
def test_a_name_never_leaves_the_key_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="is no party name"):
        create_keys(tmp_path / "keys", name, PASSPHRASE, log2_cost=CHEAP)
    with pytest.raises(KeyFileError, match="is no party name"):
        load_keys(tmp_path / "keys", name, PASSPHRASE)
    assert list(tmp_path.iterdir()) == []


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    made = create(tmp_path)
    with pytest.raises(KeyFileError, match="already exists; keys are never overwritten"):
        create(tmp_path)
    assert load_keys(tmp_path, "alpha", PASSPHRASE).tls == made.tls


def test_keys_are_not_overwritten_when_they_appear_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = key_files.publish
    winner: list[KeyRing] = []

    def late(directory: Path, name: str, files: dict[str, bytes]) -> None:
        monkeypatch.setattr("parties.keys.publish", publish)
        winner.append(create(tmp_path))
        publish(directory, name, files)

    monkeypatch.setattr("parties.keys.publish", late)
    with pytest.raises(KeyFileError, match="already exists"):
        create(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["alpha"]
    assert load_keys(tmp_path, "alpha", PASSPHRASE).tls == winner[0].tls


@pytest.mark.parametrize("failing", ["fsync", "fdopen"])
def test_a_disk_that_refuses_leaves_no_half_written_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    opened: list[int] = []

    def refuse(handle: int, *_: object) -> None:
        opened.append(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, refuse)
    with pytest.raises(KeyFileError, match="No space left on device"):
        create(tmp_path)
    monkeypatch.undo()
    if failing == "fdopen":
        os.close(opened[0])
    assert list(tmp_path.iterdir()) == []
    assert create(tmp_path).name == "alpha"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match=r"keys cannot be written to .*file"):
        create(tmp_path / "file")


@pytest.mark.parametrize("file", ["identity.pem", "tls.pem", "alpha.pem"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    create(tmp_path)
    (tmp_path / "alpha" / file).unlink()
    with pytest.raises(KeyFileError, match=f"alpha/{file} cannot be read: No such file"):
        load_keys(tmp_path, "alpha", PASSPHRASE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
@pytest.mark.parametrize("file", ["identity.pem", "tls.pem"])
def test_a_private_file_that_others_can_read_is_refused_with_the_remedy(
    tmp_path: Path, file: str, mode: int
) -> None:
    create(tmp_path)
    path = tmp_path / "alpha" / file
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"can be read by others; run chmod 600 {path}"):
        load_keys(tmp_path, "alpha", PASSPHRASE)


def test_a_directory_or_an_endless_file_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    create(tmp_path)
    path = tmp_path / "alpha" / "identity.pem"
    path.write_bytes(bytes(MAX_KEY_FILE_BYTES + 1))
    with pytest.raises(KeyFileError, match="too long"):
        load_keys(tmp_path, "alpha", PASSPHRASE)
    path.unlink()
    path.mkdir()
    with pytest.raises(KeyFileError, match=r"identity\.pem"):
        load_keys(tmp_path, "alpha", PASSPHRASE)


def test_a_key_made_elsewhere_is_refused(tmp_path: Path) -> None:
    create(tmp_path)
    path = tmp_path / "alpha" / "identity.pem"
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    with pytest.raises(KeyFileError, match="is no key file of securefed"):
        load_keys(tmp_path, "alpha", PASSPHRASE)


@pytest.mark.parametrize("cost", [b"00", b"13", b"21", b"99"])
def test_a_file_that_asks_for_a_weak_or_endless_derivation_is_refused(
    tmp_path: Path, cost: bytes
) -> None:
    create(tmp_path)
    path = tmp_path / "alpha" / "identity.pem"
    path.write_bytes(path.read_bytes().replace(b"log2_n=14", b"log2_n=" + cost))
    with pytest.raises(KeyFileError, match="is outside 2\\^14 to 2\\^20"):
        load_keys(tmp_path, "alpha", PASSPHRASE)


@pytest.mark.parametrize("file", ["identity.pem", "tls.pem", "alpha.pem"])
def test_files_of_two_sets_of_keys_are_never_mixed(tmp_path: Path, file: str) -> None:
    create(tmp_path / "one")
    create(tmp_path / "two")
    (tmp_path / "two" / "alpha" / file).replace(tmp_path / "one" / "alpha" / file)
    with pytest.raises(KeyFileError, match=r"alpha"):
        load_keys(tmp_path / "one", "alpha", PASSPHRASE)


def test_keys_answer_to_their_own_name_only(tmp_path: Path) -> None:
    create(tmp_path)
    (tmp_path / "alpha").rename(tmp_path / "beta")
    (tmp_path / "beta" / "alpha.pem").rename(tmp_path / "beta" / "beta.pem")
    with pytest.raises(KeyFileError, match="the certificate of beta carries another name"):
        load_keys(tmp_path, "beta", PASSPHRASE)


@pytest.mark.parametrize("days", [-2, 3651])
def test_a_certificate_out_of_its_time_is_refused_with_its_dates(stored: Path, days: int) -> None:
    when = datetime.now(UTC) + timedelta(days=days)
    with pytest.raises(KeyFileError, match=r"valid from \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d"):
        load_keys(stored, "alpha", PASSPHRASE, now=when)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_never_yields_other_keys(stored: Path, data: st.DataObject) -> None:
    good = load_keys(stored, "alpha", PASSPHRASE)
    file = data.draw(st.sampled_from(["identity.pem", "tls.pem", "alpha.pem"]))
    path = stored / "alpha" / file
    whole = path.read_bytes()
    damaged = bytearray(whole)
    # After the header, so that scrypt runs at its cheap cost in every example.
    start = 0 if file == "alpha.pem" else whole.index(b"\n") + 1
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(start, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        path.write_bytes(damaged)
        opened = load_keys(stored, "alpha", PASSPHRASE)
    except KeyFileError:
        return
    finally:
        path.write_bytes(whole)
    assert opened.identity.public.raw == good.identity.public.raw
    assert opened.tls == good.tls


def test_damage_that_turns_the_identity_into_another_key_is_found(tmp_path: Path) -> None:
    create(tmp_path)
    path = tmp_path / "alpha" / "identity.pem"
    head, _, pem = path.read_bytes().partition(b"\n")
    lines = pem.splitlines()
    # PKCS #8 puts the 32 bytes of the key last; the second last CBC block lies here in base64.
    body = bytearray(b"".join(lines[1:-1]))
    found = set()
    for position in range(len(body) - 70, len(body) - 44):
        changed = bytearray(body)
        changed[position] = ord("A") if changed[position] != ord("A") else ord("B")
        path.write_bytes(head + b"\n" + lines[0] + b"\n" + bytes(changed) + b"\n" + lines[-1])
        with pytest.raises(KeyFileError) as caught:
            load_keys(tmp_path, "alpha", PASSPHRASE)
        found.add(re.sub(r".*(is damaged|does not open).*", r"\1", str(caught.value)))
    assert "is damaged" in found


def test_the_passphrase_comes_from_the_file_then_the_variable_then_the_person(
    tmp_path: Path,
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"from the file\r\n")
    file.chmod(0o600)
    environ = {ENVIRONMENT_VARIABLE: "from the variable"}

    def ask() -> str:
        return "from the person"

    assert read_passphrase(file=file, environ=environ, prompt=ask) == b"from the file"
    assert read_passphrase(file=None, environ=environ, prompt=ask) == b"from the variable"
    assert read_passphrase(file=None, environ={}, prompt=ask) == b"from the person"
    assert read_passphrase(file=None, environ={ENVIRONMENT_VARIABLE: ""}, prompt=ask) == (
        b"from the person"
    )
    with pytest.raises(KeyFileError, match="give --passphrase-file, set SECUREFED_PASSPHRASE"):
        read_passphrase(file=None, environ={}, prompt=None)


def test_only_one_line_end_is_cut_from_a_passphrase_file(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b" spaces and lines \n\n")
    file.chmod(0o600)
    assert read_passphrase(file=file, environ={}, prompt=None) == b" spaces and lines \n"


def test_a_passphrase_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(PASSPHRASE)
    file.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_passphrase(file=file, environ={}, prompt=None)


def test_a_short_passphrase_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(KeyFileError, match="has 5 bytes"):
        read_passphrase(file=None, environ={ENVIRONMENT_VARIABLE: "short"}, prompt=None)


# Other secrets under the same passphrase


PURPOSE = Purpose("secret", "alpha", bytes(32), bytes(32))


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_files, "LOG2_COST", CHEAP)


def test_a_sealed_secret_comes_back_for_its_purpose_only(tmp_path: Path, cheap: None) -> None:
    path = tmp_path / "new" / "secret"
    write_secret(path, b"attack at dawn", PURPOSE, PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(path, PURPOSE, PASSPHRASE) == b"attack at dawn"
    assert b"attack" not in path.read_bytes()
    for other in (
        Purpose("another", "alpha", bytes(32), bytes(32)),
        Purpose("secret", "bravo", bytes(32), bytes(32)),
        Purpose("secret", "alpha", bytes(31) + b"1", bytes(32)),
        Purpose("secret", "alpha", bytes(32), bytes(31) + b"1"),
    ):
        with pytest.raises(KeyFileError, match="take the file that was made for it"):
            read_secret(path, other, PASSPHRASE)
        # Nor when the first line says that it is for this purpose.
        text = path.read_bytes().replace(PURPOSE.digest().hex().encode(), b"%s")
        forged = tmp_path / other.digest().hex()
        forged.write_bytes(text.replace(b"%s", other.digest().hex().encode()))
        forged.chmod(0o600)
        with pytest.raises(KeyFileError, match="wrong passphrase, or damaged"):
            read_secret(forged, other, PASSPHRASE)
    with pytest.raises(KeyFileError, match="wrong passphrase, or damaged"):
        read_secret(path, PURPOSE, b"another passphrase")
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_secret(path, PURPOSE, PASSPHRASE)


def test_one_secret_sealed_twice_gives_two_unlike_files(tmp_path: Path, cheap: None) -> None:
    for name in ("one", "two"):
        write_secret(tmp_path / name, b"attack at dawn", PURPOSE, PASSPHRASE)
    one, two = ((tmp_path / name).read_text().splitlines() for name in ("one", "two"))
    assert one[0] != two[0]
    assert one[2] != two[2]


def test_a_sealed_file_that_is_bent_anywhere_is_refused(tmp_path: Path, cheap: None) -> None:
    path = tmp_path / "secret"
    write_secret(path, b"attack at dawn", PURPOSE, PASSPHRASE)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(KeyFileError):
            read_secret(path, PURPOSE, PASSPHRASE)
    for cut in (whole[:-1], whole[:40], b"", whole + b"x", whole.replace(b"SECRET", b"SECRETS")):
        path.write_bytes(cut)
        with pytest.raises(KeyFileError):
            read_secret(path, PURPOSE, PASSPHRASE)


def test_a_new_file_replaces_nothing_and_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_new(path, b"first", private=False)
    with pytest.raises(KeyFileError, match="already exists and is not replaced"):
        write_new(path, b"second", private=False)
    assert path.read_bytes() == b"first"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        write_new(tmp_path / "other", b"x", private=True)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_disk_without_links_gets_whole_files_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    write_new(tmp_path / "file", b"first", private=True)
    assert (tmp_path / "file").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    with pytest.raises(KeyFileError, match="already exists"):
        write_new(tmp_path / "file", b"second", private=True)
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
