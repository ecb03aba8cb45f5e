"""Identities: what a signature binds, what is refused, and what a private key never shows."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import pickle
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import edwards
from protocols import identity as identity_module
from protocols.errors import KeyFileError, MisuseError, SignatureError
from protocols.identity import (
    MAX_PASSPHRASE_BYTES,
    MAX_ROUND,
    Envelope,
    Identity,
    Name,
    VerifyKey,
)
from protocols.version import PROTOCOL_VERSION

PASSPHRASE = b"correct horse battery"
PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME

names = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")
steps = st.from_regex(r"\A[a-z-]{1,32}\Z")
digests = st.binary(min_size=32, max_size=32)
rounds = st.integers(0, MAX_ROUND)
domains = st.binary(min_size=1, max_size=64).map(lambda raw: bytes(32 + b % 95 for b in raw))


def make(name: str = "alpha") -> Identity:
    return Identity(name, hashlib.sha256(name.encode()).digest())


def sealed(signer: Identity, payload: bytes = b"payload") -> Envelope:
    return signer.seal(agreement=bytes(32), round_=7, step="submit", payload=payload)


@settings(max_examples=50, deadline=None)
@given(names, digests, rounds, steps, st.binary(max_size=200))
def test_a_sealed_envelope_verifies_and_survives_the_wire(
    name: str, agreement: bytes, round_: int, step: str, payload: bytes
) -> None:
    signer = make(name)
    envelope = signer.seal(agreement=agreement, round_=round_, step=step, payload=payload)
    wire = msgspec.msgpack.encode(envelope)
    again = msgspec.msgpack.decode(wire, type=Envelope)
    signer.public.verify(again)
    assert again == envelope
    assert again.payload == payload


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_change_of_any_field_breaks_the_signature(data: st.DataObject) -> None:
    signer = make()
    envelope = signer.seal(
        agreement=data.draw(digests),
        round_=data.draw(rounds),
        step=data.draw(steps),
        payload=data.draw(st.binary(min_size=1, max_size=50)),
    )

    def flipped(raw: bytes) -> bytes:
        bit = data.draw(st.integers(0, 8 * len(raw) - 1))
        return bytes(b ^ (1 << bit % 8) * (i == bit // 8) for i, b in enumerate(raw))

    changes: dict[str, Any] = {
        "version": data.draw(st.integers(0, 0xFFFF).filter(lambda v: v != envelope.version)),
        "agreement": flipped(envelope.agreement),
        "round": data.draw(rounds.filter(lambda r: r != envelope.round)),
        "step": data.draw(steps.filter(lambda s: s != envelope.step)),
        "sender": data.draw(names.filter(lambda n: n != envelope.sender)),
        "payload": flipped(envelope.payload),
        "signature": flipped(envelope.signature),
    }
    assert set(changes) == set(Envelope.__struct_fields__)
    for field, value in changes.items():
        forged = msgspec.structs.replace(envelope, **{field: value})
        with pytest.raises(SignatureError, match="alpha"):
            signer.public.verify(forged)
        # Under the forged sender's own name the signature is no better.
        with pytest.raises(SignatureError):
            VerifyKey(forged.sender, signer.public.raw).verify(forged)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_two_field_tuples_share_the_bytes_that_are_signed(data: st.DataObject) -> None:
    # Texts are cut at two places each, so that only the length prefixes tell them apart.
    text = data.draw(st.from_regex(r"\A[a-z-]{4,12}\Z"))
    fields = [
        (text[:cut], text[cut:end], text[end:].encode())
        for cut in range(1, len(text) - 1)
        for end in range(cut + 1, len(text))
    ]
    signed = {
        identity_module._signed_bytes(bytes(32), 1, step, sender, payload)
        for step, sender, payload in fields
    }
    assert len(signed) == len(fields)


def test_the_signed_bytes_have_the_documented_layout() -> None:
    signed = identity_module._signed_bytes(b"d" * 32, 258, "submit", "alpha", b"xyz")
    assert signed == (
        b"securefed envelope v1\x00"
        + PROTOCOL_VERSION.to_bytes(2, "big")
        + (258).to_bytes(8, "big")
        + b"\x20"
        + b"d" * 32
        + b"\x06\x05submitalpha"
        + (3).to_bytes(8, "big")
        + b"xyz"
    )


def test_signatures_are_those_of_rfc_8032() -> None:
    # Section 7.1, test 1: the empty message. The domain prefix is peeled off by signing directly.
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signer = Identity("alpha", secret)
    assert signer.public.raw == public
    raw = ed25519.Ed25519PublicKey.from_public_bytes(public)
    raw.verify(signer.sign_bytes(b"domain", b"message"), b"domain\x00message")
    envelope = sealed(signer)
    raw.verify(
        envelope.signature,
        identity_module._signed_bytes(bytes(32), 7, "submit", "alpha", b"payload"),
    )


def test_an_envelope_of_another_party_is_refused_even_when_its_own_key_signed_it() -> None:
    with pytest.raises(SignatureError, match="alpha at submit: signed as 'beta'"):
        make().public.verify(sealed(make("beta")))


def test_an_envelope_of_another_protocol_version_is_refused_before_its_signature() -> None:
    other = msgspec.structs.replace(sealed(make()), version=PROTOCOL_VERSION + 1)
    with pytest.raises(SignatureError, match=f"this node speaks {PROTOCOL_VERSION}"):
        make().public.verify(other)


@settings(max_examples=100, deadline=None)
@given(domains, domains, st.binary(max_size=40))
def test_a_signature_in_one_domain_is_none_in_another(
    domain: bytes, other: bytes, message: bytes
) -> None:
    signer = make()
    signature = signer.sign_bytes(domain, message)
    signer.public.verify_bytes(domain, message, signature)
    if other != domain:
        with pytest.raises(SignatureError):
            signer.public.verify_bytes(other, message, signature)
    with pytest.raises(SignatureError):
        signer.public.verify_bytes(domain, message + b"\x00", signature)


def test_a_detached_signature_never_passes_for_an_envelope() -> None:
    signer, envelope = make(), sealed(make())
    whole = identity_module._signed_bytes(bytes(32), 7, "submit", "alpha", b"payload")
    domain, _, message = whole.partition(b"\x00")
    assert domain + b"\x00" + message == whole
    with pytest.raises(MisuseError):
        signer.sign_bytes(domain, message)
    with pytest.raises(MisuseError):
        signer.public.verify_bytes(domain, message, envelope.signature)


@pytest.mark.parametrize("domain", [b"", b"two\x00parts", b"\xff", b"x" * 65, b"line\n"])
def test_a_domain_that_could_be_read_in_two_ways_is_refused(domain: bytes) -> None:
    with pytest.raises(MisuseError, match="domain"):
        make().sign_bytes(domain, b"message")


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(SignatureError, match="alpha at d: the signature is not valid"):
        make().public.verify_bytes(b"d", b"m", bytes(length))


def test_a_signature_with_an_unreduced_scalar_is_refused() -> None:
    # s + L verifies under a careless verifier: a second signature on the same bytes.
    signer = make()
    signature = signer.sign_bytes(b"d", b"m")
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(SignatureError):
        signer.public.verify_bytes(b"d", b"m", signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize(
    ("agreement", "round_", "step"),
    [
        (bytes(31), 1, "submit"),
        (bytes(33), 1, "submit"),
        (bytes(32), -1, "submit"),
        (bytes(32), MAX_ROUND + 1, "submit"),
        (bytes(32), 1, ""),
        (bytes(32), 1, "Submit"),
        (bytes(32), 1, "submit\n"),
        (bytes(32), 1, "s" * 33),
    ],
)
def test_what_no_receiver_would_accept_is_never_sealed(
    agreement: bytes, round_: int, step: str
) -> None:
    with pytest.raises(MisuseError):
        make().seal(agreement=agreement, round_=round_, step=step, payload=b"")


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a b", "a/../b", "a\n", "a\x00", "ä", "a" * 65, "a_b"]
)
def test_a_name_that_could_be_a_path_or_a_second_spelling_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Name)
    wire = msgspec.msgpack.encode(msgspec.structs.replace(sealed(make()), sender=name))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(wire, type=Envelope)


@pytest.mark.parametrize("step", ["", "submit\n", "s" * 33, "Submit", "a b"])
def test_a_step_of_another_shape_is_refused_on_the_wire(step: str) -> None:
    wire = msgspec.msgpack.encode(msgspec.structs.replace(sealed(make()), step=step))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(wire, type=Envelope)


def _encode_point(y: int, sign: int) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def _small_order_y() -> set[int]:
    """Small-order points by definition: doubling three times reaches the neutral element."""
    found = set()
    for y in (*range(3), PRIME - 1, edwards._ORDER_8_Y, PRIME - edwards._ORDER_8_Y):
        square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, PRIME) % PRIME
        current_y, x_squared = y, square
        for _ in range(3):
            # x' y' need x only through x^2: y' = (y^2 + x^2) / (1 - d x^2 y^2),
            # x'^2 = 4 x^2 y^2 / (1 + d x^2 y^2)^2  (twisted Edwards doubling, a = -1).
            product = CURVE_D * x_squared * current_y * current_y % PRIME
            top = 4 * x_squared * current_y * current_y
            current_y, x_squared = (
                (current_y * current_y + x_squared) * pow(1 - product, -1, PRIME) % PRIME,
                top * pow((1 + product) ** 2, -1, PRIME) % PRIME,
            )
        if (current_y, x_squared) == (1, 0):
            found.add(y)
    return found


def test_the_list_of_small_order_points_is_right_and_whole() -> None:
    # The 8-torsion of edwards25519 is cyclic: 8 points, of which y and -y pairs share signs of x.
    found = _small_order_y()
    assert found == set(edwards._SMALL_ORDER_Y)
    points = sum(1 if y in (1, PRIME - 1) else 2 for y in found)
    assert points == 8


@pytest.mark.parametrize(
    "raw",
    [
        _encode_point(y + wrap, sign)
        for y in sorted(edwards._SMALL_ORDER_Y)
        for wrap in (0, PRIME)
        for sign in (0, 1)
        if y + wrap < 2**255
    ],
    ids=bytes.hex,
)
def test_a_key_under_which_anybody_can_sign_is_refused(raw: bytes) -> None:
    with pytest.raises(SignatureError, match="alpha at identity: not an Ed25519 public key"):
        VerifyKey("alpha", raw)


def test_the_library_itself_would_accept_a_signature_that_nobody_made() -> None:
    # Why the check above exists: S = 0, R = A = the neutral point verifies for every message.
    neutral = _encode_point(1, 0)
    ed25519.Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")


def test_a_mistyped_key_that_left_the_curve_is_refused() -> None:
    good, refused = make().public.raw, 0
    for bit in range(255):
        try:
            VerifyKey(
                "alpha", bytes(b ^ (1 << bit % 8) * (i == bit // 8) for i, b in enumerate(good))
            )
        except SignatureError:
            refused += 1
    assert 90 < refused < 165  # half of all strings are no point


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(SignatureError, match="not an Ed25519 public key"):
        VerifyKey("alpha", bytes(length))
    with pytest.raises(MisuseError, match="32 bytes"):
        Identity("alpha", bytes(length))


@settings(max_examples=25, deadline=None)
@given(digests)
def test_every_real_key_is_accepted(secret: bytes) -> None:
    signer = Identity("alpha", secret)
    assert VerifyKey("alpha", signer.public.raw).raw == signer.public.raw


def test_no_text_of_an_identity_shows_its_private_key() -> None:
    secret = bytes(range(32))
    signer = Identity("alpha", secret)
    texts = (repr(signer), str(signer), f"{signer}", repr(signer.public), repr([signer]))
    for text in texts:
        assert secret.hex() not in text
        assert str(secret) not in text
        assert repr(secret)[2:-1] not in text
        assert "alpha" in text
    assert not hasattr(signer, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_identity_is_never_pickled_or_copied(protocol: int) -> None:
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(make(), protocol)
    with pytest.raises(TypeError, match="never serialised"):
        copy.copy(make())
    with pytest.raises(TypeError, match="never serialised"):
        copy.deepcopy({"key": make()})
    with pytest.raises(TypeError):
        msgspec.msgpack.encode(make())


def test_an_envelope_shows_its_size_and_not_its_payload() -> None:
    shown = repr(sealed(make(), b"tell nobody"))
    assert "tell" not in shown
    assert "11 bytes" in shown


def test_an_identity_comes_back_from_its_encrypted_pem() -> None:
    signer = make()
    pem = signer.to_pem(PASSPHRASE)
    again = Identity.from_pem("alpha", pem, PASSPHRASE)
    assert again.public.raw == signer.public.raw
    assert pem != signer.to_pem(PASSPHRASE)  # a fresh salt every time
    assert b"ENCRYPTED PRIVATE KEY" in pem


def test_a_wrong_passphrase_opens_nothing_and_is_not_repeated_in_the_error() -> None:
    pem = make().to_pem(PASSPHRASE)
    for wrong in (b"", b"incorrect horse", PASSPHRASE + b"\n", bytes(2000)):
        with pytest.raises(KeyFileError, match="the key of alpha does not open") as caught:
            Identity.from_pem("alpha", pem, wrong)
        assert "horse" not in str(caught.value)


@pytest.mark.parametrize("passphrase", [b"", b"1234567", bytes(MAX_PASSPHRASE_BYTES + 1)])
def test_a_passphrase_of_unusable_length_is_refused(passphrase: bytes) -> None:
    with pytest.raises(KeyFileError, match=f"has {len(passphrase)} bytes; choose one of 8 to 1023"):
        make().to_pem(passphrase)


def test_the_longest_passphrase_works() -> None:
    passphrase = b"x" * MAX_PASSPHRASE_BYTES
    pem = make().to_pem(passphrase)
    assert Identity.from_pem("alpha", pem, passphrase).public.raw == make().public.raw


def test_a_key_that_lies_open_is_refused() -> None:
    plain = make()._key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(KeyFileError, match="not encrypted"):
        Identity.from_pem("alpha", plain, PASSPHRASE)
    with pytest.raises(KeyFileError, match="does not open"):
        Identity.from_pem("alpha", b"ENCRYPTED, or so it says\n" + plain, PASSPHRASE)


def test_a_key_of_another_kind_is_refused() -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSPHRASE),
    )
    with pytest.raises(KeyFileError, match="alpha is not an Ed25519 key"):
        Identity.from_pem("alpha", pem, PASSPHRASE)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_pem_raises_nothing_but_a_key_file_error(data: st.DataObject) -> None:
    pem = bytearray(make().to_pem(PASSPHRASE))
    for _ in range(data.draw(st.integers(1, 4))):
        pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(pem)))
    for damaged in (bytes(pem), bytes(pem[:cut])):
        # CBC has no checksum: damage may also yield another key, which parties.keys finds out.
        with contextlib.suppress(KeyFileError):
            Identity.from_pem("alpha", damaged, PASSPHRASE)
