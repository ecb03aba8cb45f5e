"""Only TLS 1.3, only pinned certificates, in both roles: proved with other TLS stacks."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.loopback import (
    bodies,
    client,
    grpc,
    hello,
    identity,
    loopback,
    pin,
    raw_client,
    server,
    until,
)

from parties.transport.events import Connected, Refused
from parties.transport.greeting import proven_name
from parties.transport.tls import (
    PinnedPeer,
    TlsIdentity,
    certificate_fingerprint,
    create_tls_identity,
    require_valid,
)
from parties.transport.tls13 import require_tls13
from protocols.errors import MisuseError, SignatureError

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def aged(name: str, *, days_ago: float, valid_days: float) -> TlsIdentity:
    issued = datetime.now(UTC) - timedelta(days=days_ago)
    return create_tls_identity(name, now=issued, valid_days=valid_days)


def issued_by(issuer: TlsIdentity, name: str) -> TlsIdentity:
    """A certificate for ``name``, signed with another node's key as if that were an authority."""
    signer = serialization.load_pem_private_key(issuer.private_key_pem, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    parent = x509.load_pem_x509_certificate(issuer.certificate_pem)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(parent.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    der = certificate.fingerprint(hashes.SHA256()).hex()
    return TlsIdentity(name, certificate.public_bytes(pem) + issuer.certificate_pem, private, der)


class Noticed(logging.Handler):
    """Sets an event when the transport warns."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.event = asyncio.Event()

    def emit(self, _record: logging.LogRecord) -> None:
        self.event.set()


@asynccontextmanager
async def noticed() -> AsyncIterator[asyncio.Event]:
    handler = Noticed()
    logger = logging.getLogger("securefed.transport")
    logger.addHandler(handler)
    try:
        yield handler.event
    finally:
        logger.removeHandler(handler)


# --- certificates


def test_a_certificate_is_for_one_name_both_roles_and_no_authority():
    made = identity("bank-a")
    certificate = x509.load_pem_x509_certificate(made.certificate_pem)
    value = certificate.extensions.get_extension_for_class
    assert certificate.subject == certificate.issuer
    assert value(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["bank-a"]
    assert not value(x509.BasicConstraints).value.ca
    assert not value(x509.KeyUsage).value.key_cert_sign
    assert set(value(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert made.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert certificate_fingerprint("bank-a", made.certificate_pem) == made.fingerprint
    assert certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3000)


def test_two_identities_of_one_name_differ():
    assert create_tls_identity("x").fingerprint != create_tls_identity("x").fingerprint


def test_a_private_key_is_not_in_the_repr():
    made = identity("bank-a")
    assert b"PRIVATE" in made.private_key_pem
    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize("name", ["", "Bank", "a b", "-a", "a-", "a.b", "a\n", "ä", "a" * 65])
def test_a_name_that_no_agreement_can_hold_gets_no_certificate(name):
    with pytest.raises(MisuseError):
        create_tls_identity(name)


@pytest.mark.parametrize(
    ("name", "pem", "mark", "problem"),
    [
        ("bank-a", identity("bank-b").certificate_pem, "bank-a", "the agreement pins"),
        ("bank-a", identity("bank-a").certificate_pem, "bank-b", "the agreement pins"),
        ("bank-b", identity("bank-a").certificate_pem, "bank-a", "CN and SAN"),
        ("bank-a", identity("bank-a").certificate_pem * 2, "bank-a", "2 certificates"),
        ("bank-a", b"", "bank-a", "not a PEM"),
        ("bank-a", b"\xff\x00", "bank-a", "not a PEM"),
        ("bank-a", b"x" * 20_000, "bank-a", "too long"),
        ("bank-a", identity("bank-a").private_key_pem, "bank-a", "not a PEM"),
    ],
)
def test_a_certificate_file_must_be_the_pinned_one_and_nothing_else(name, pem, mark, problem):
    with pytest.raises(SignatureError, match=problem) as caught:
        PinnedPeer(name, pem, identity(mark).fingerprint)
    assert caught.value.party == name


@pytest.mark.parametrize(("days_ago", "valid_days"), [(30, 10), (-10, 20)])
def test_a_certificate_out_of_date_is_named_with_its_dates(days_ago, valid_days):
    old = aged("bank-a", days_ago=days_ago, valid_days=valid_days)
    with pytest.raises(SignatureError, match="it is valid from") as caught:
        require_valid("bank-a", old.certificate_pem)
    assert "clock" in str(caught.value)


def test_the_name_comes_from_the_pin_and_only_over_tls_1_3():
    pins = {name: pin(identity(name)) for name in ("bank-a", "bank-b")}
    facts = {
        "ssl_tls_version": [b"TLSv1.3"],
        "x509_pem_cert": [identity("bank-b").certificate_pem],
        "x509_common_name": [b"bank-a"],  # what a certificate says of itself does not count
    }
    assert proven_name(facts, pins) == "bank-b"
    for change in (
        {"ssl_tls_version": [b"TLSv1.2"]},
        {"ssl_tls_version": []},
        {"x509_pem_cert": []},
        {"x509_pem_cert": [identity("bank-c").certificate_pem]},
        {"x509_pem_cert": [b"garbage"]},
    ):
        with pytest.raises(SignatureError):
            proven_name(facts | change, pins)


# --- TLS 1.2 is dead


def context(
    role: int, version: ssl.TLSVersion, own: TlsIdentity, folder: Path, *, weak: bool
) -> ssl.SSLContext:
    made = ssl.SSLContext(role)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    if weak:
        made.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    file = folder / "own.pem"
    file.write_bytes(own.certificate_pem + own.private_key_pem)
    made.load_cert_chain(file)
    made.set_alpn_protocols(["h2"])
    return made


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize(("version", "works"), [(OLD, False), (NEW, True)])
def test_a_tls_1_2_client_fails_in_the_handshake(tmp_path, version, works, weak):
    @loopback
    async def run(spool):
        async with server(spool) as (coordinator, port), client(spool, port) as honest:
            await until(honest, Connected)
            tls = context(ssl.PROTOCOL_TLS_CLIENT, version, identity("bank-b"), tmp_path, weak=weak)
            if works:
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
                assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
                writer.transport.abort()
            else:
                with pytest.raises(OSError):  # noqa: PT011 - the stacks word it differently
                    await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            await honest.send(b"still served")
            assert await bodies(coordinator, 1) == [b"still served"]

    run(tmp_path)


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize(("version", "works"), [(OLD, False), (NEW, True)])
def test_a_tls_1_2_server_gets_no_handshake_from_our_client(tmp_path, version, works, weak):
    @loopback
    async def run(spool):
        shaken, tried = asyncio.Event(), asyncio.Event()

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            shaken.set()  # asyncio calls this once the handshake is complete
            writer.transport.abort()

        tls = context(
            ssl.PROTOCOL_TLS_SERVER, version, identity("coordinator"), tmp_path, weak=weak
        )
        asyncio.get_running_loop().set_exception_handler(lambda *_: tried.set())
        listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        port = listener.sockets[0].getsockname()[1]
        async with listener, noticed() as trouble, client(spool, port) as party:
            if works:
                await asyncio.wait_for(shaken.wait(), 10)
            else:
                await trouble.wait()  # the client has given up one attempt
                assert not shaken.is_set()
            assert not party.connected

    run(tmp_path)


PROBE = """
{first}
import asyncio
from parties.transport.tls13 import require_tls13
asyncio.run(require_tls13())
"""


def probe(first: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROBE.format(first=first)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_process_in_which_tls_1_2_cannot_be_turned_off_is_told_so_at_start_up():
    outcome = probe("import os; os.environ.pop('GRPC_SSL_CIPHER_SUITES', None); import grpc")
    assert outcome.returncode != 0
    assert "TransportError: gRPC accepts TLS 1.2" in outcome.stderr
    assert "import securefed before" in outcome.stderr


def test_the_environment_cannot_turn_tls_1_2_on():
    suites = "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert probe("", GRPC_SSL_CIPHER_SUITES=suites).returncode == 0
    assert probe("import grpc", GRPC_SSL_CIPHER_SUITES=suites).returncode != 0


def test_the_proof_holds_in_this_process():
    asyncio.run(require_tls13())


# --- who gets in

STRANGERS: dict[str, Callable[[], grpc.ChannelCredentials]] = {}


def stranger(make: Callable[[], TlsIdentity | None]) -> Callable[[], TlsIdentity | None]:
    def credentials() -> grpc.ChannelCredentials:
        own = make()
        trusted = identity("coordinator").certificate_pem
        if own is None:
            return grpc.ssl_channel_credentials(trusted)
        return grpc.ssl_channel_credentials(trusted, own.private_key_pem, own.certificate_pem)

    STRANGERS[make.__name__] = credentials
    return make


@stranger
def no_certificate() -> TlsIdentity | None:
    return None


@stranger
def the_right_name_but_another_key() -> TlsIdentity | None:
    return create_tls_identity("bank-a")


@stranger
def nobody_of_this_agreement() -> TlsIdentity | None:
    return create_tls_identity("bank-z")


@stranger
def a_name_vouched_for_by_another_party() -> TlsIdentity | None:
    return issued_by(identity("bank-b"), "bank-a")


@stranger
def the_coordinator_itself() -> TlsIdentity | None:
    return identity("coordinator")


@pytest.mark.parametrize("who", STRANGERS)
def test_strangers_are_refused_in_the_handshake_and_others_are_served(tmp_path, who):
    @loopback
    async def run(spool):
        async with (
            server(spool) as (coordinator, port),
            client(spool, port, name="bank-b") as honest,
            raw_client(port, credentials=STRANGERS[who]()) as them,
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await them.greet()
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            await until(honest, Connected)
            assert await coordinator.next_event(5) == Connected("bank-b", resumed=False)
            assert coordinator.connected == {"bank-b"}

    run(tmp_path)


@loopback
async def test_a_pinned_certificate_that_has_expired_does_not_get_in(spool):
    old = aged("bank-a", days_ago=30, valid_days=10)
    credentials = grpc.ssl_channel_credentials(
        identity("coordinator").certificate_pem, old.private_key_pem, old.certificate_pem
    )
    peers = {"bank-a": old, "bank-b": identity("bank-b")}
    async with (
        server(spool, peers=peers) as (_, port),
        raw_client(port, credentials=credentials) as them,
        client(spool, port, name="bank-b") as honest,
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await them.greet()
        await until(honest, Connected)


def test_a_party_whose_certificate_expired_is_named_when_the_coordinator_starts(tmp_path, caplog):
    @loopback
    async def run(spool):
        old = aged("bank-a", days_ago=30, valid_days=10)
        async with server(spool, peers={"bank-a": old}):
            pass

    run(tmp_path)
    assert "this party cannot connect: bank-a at certificate: it is valid from" in caplog.text


@loopback
async def test_a_node_with_an_expired_certificate_does_not_start(spool):
    old = aged("coordinator", days_ago=30, valid_days=10)
    with pytest.raises(SignatureError, match="coordinator at certificate"):
        async with server(spool, tls=old):
            pass
    with pytest.raises(SignatureError, match="coordinator at certificate"):
        async with client(spool, 1, server=pin(old)):
            pass
    with pytest.raises(SignatureError, match="bank-a at certificate"):
        async with client(spool, 1, tls=aged("bank-a", days_ago=30, valid_days=10)):
            pass


def test_a_certificate_that_expires_during_the_run_ends_reconnects_with_its_name(
    tmp_path, monkeypatch
):
    @loopback
    async def run(spool):
        async with client(spool, 1) as party:  # nobody listens on port 1
            error = SignatureError("bank-a", "certificate", "it is valid from …")

            def expired(*_: object) -> None:
                raise error

            monkeypatch.setattr("parties.transport.client.require_valid", expired)
            assert (await until(party, Refused)).error is error

    run(tmp_path)


@pytest.mark.parametrize("own", ["another-node", "coordinator"])
def test_a_false_coordinator_learns_nothing(tmp_path, own):
    """Another certificate, or a fresh one in the right name: the party does not even say hello."""

    @loopback
    async def run(spool):
        async with server(spool, tls=create_tls_identity(own)) as (false, port):
            async with noticed() as trouble, client(spool, port) as party:
                await trouble.wait()
                assert not party.connected
            with pytest.raises(TimeoutError):
                await false.next_event(0.05)

    run(tmp_path)


@loopback
async def test_the_certificate_of_one_party_does_not_open_the_session_of_another(spool):
    async with server(spool) as (coordinator, port), raw_client(port, name="bank-b") as them:
        await them.say(hello(name="bank-a"))
        event = await until(coordinator, Refused)
        assert isinstance(event.error, SignatureError)
        assert event.error.party == "bank-b"
        assert coordinator.connected == frozenset()
