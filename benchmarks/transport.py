"""One large upload over loopback TLS: SecureFed's transport against bare grpc.aio streaming.

Both run in this same call with client and server in processes of their own, the same certificates,
chunk size and confirmation by a small answer; runs alternate, so that a busy machine hits both.

    python benchmarks/transport.py [--megabytes 40] [--runs 15] [--chunk-kib 1024]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from parties.transport.client import Client
from parties.transport.events import Message
from parties.transport.limits import PATH, Limits
from parties.transport.server import Server
from parties.transport.streams import generic_handler
from parties.transport.tls import PinnedPeer, TlsIdentity, create_tls_identity

import grpc  # isort: skip - after parties.transport, which turns TLS 1.2 off
from grpc import aio  # isort: skip

DIGEST = bytes(32)
SECONDS = 60.0


def pinned(identity: TlsIdentity) -> PinnedPeer:
    """Return what a peer knows of an identity."""
    return PinnedPeer(identity.name, identity.certificate_pem, identity.fingerprint)


async def serve_ours(
    pipe: Connection, server_id: TlsIdentity, party: TlsIdentity, size: int, limits: Limits
) -> None:
    """Answer each message with one byte, after touching every page of it."""
    with tempfile.TemporaryDirectory() as spool:
        server = Server(
            address="127.0.0.1:0",
            tls=server_id,
            peers={party.name: pinned(party)},
            agreement_digest=DIGEST,
            max_message_bytes=size,
            spool=Path(spool),
            limits=limits,
        )
        pipe.send(await server.start())
        async for event in server.events():
            if isinstance(event, Message):
                await server.send(party.name, event.body[:1])


async def serve_bare(
    pipe: Connection, server_id: TlsIdentity, party: TlsIdentity, size: int, limits: Limits
) -> None:
    """Answer with one byte whenever ``size`` bytes have come; nothing is kept."""

    async def serve(_requests: Any, context: Any) -> None:
        got = 0
        while (raw := await context.read()) is not aio.EOF:
            got += len(raw)
            if got == size:
                got = 0
                await context.write(b"\1")

    server = aio.server(options=[("grpc.max_receive_message_length", 2 * limits.chunk_bytes)])
    server.add_generic_rpc_handlers((generic_handler(PATH, serve),))
    pair = (server_id.private_key_pem, server_id.certificate_pem)
    credentials = grpc.ssl_server_credentials([pair], party.certificate_pem, True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    pipe.send(port)
    await server.wait_for_termination()


def run_server(which: str, pipe: Connection, *args: Any) -> None:
    """Entry point of a server process."""
    asyncio.run({"ours": serve_ours, "bare": serve_bare}[which](pipe, *args))


async def upload_bare(call: Any, body: memoryview, chunk: int) -> float:
    """Return seconds from the first write to the answer."""
    begin = time.perf_counter()
    for start in range(0, len(body), chunk):
        await call.write(bytes(body[start : start + chunk]))
    await call.read()
    return time.perf_counter() - begin


async def upload_ours(client: Client, body: memoryview) -> float:
    """Return seconds from handing the message over to the answer."""
    begin = time.perf_counter()
    await client.send(body)
    while not isinstance(await client.next_event(SECONDS), Message):
        pass
    return time.perf_counter() - begin


async def measure(ports: dict[str, int], ids: tuple[TlsIdentity, TlsIdentity], args: Any) -> None:
    """Alternate uploads and print MB/s (10^6 bytes)."""
    server_id, party = ids
    limits = Limits(chunk_bytes=args.chunk_kib * 1024)
    body = memoryview(os.urandom(args.megabytes * 1_000_000))
    credentials = grpc.ssl_channel_credentials(
        server_id.certificate_pem, party.private_key_pem, party.certificate_pem
    )
    with tempfile.TemporaryDirectory() as spool:
        client = Client(
            address=f"127.0.0.1:{ports['ours']}",
            server=pinned(server_id),
            tls=party,
            agreement_digest=DIGEST,
            max_message_bytes=len(body),
            spool=Path(spool),
            limits=limits,
        )
        await client.start()
        async with aio.secure_channel(
            f"127.0.0.1:{ports['bare']}", credentials, limits.client_options(server_id.name)
        ) as channel:
            call = channel.stream_stream(PATH)()
            seconds: dict[str, list[float]] = {"bare grpc.aio": [], "securefed": []}
            for run in range(args.runs + 2):
                bare = await upload_bare(call, body, limits.chunk_bytes)
                ours = await upload_ours(client, body)
                if run >= 2:  # the first two warm up connections and caches
                    seconds["bare grpc.aio"].append(bare)
                    seconds["securefed"].append(ours)
            call.cancel()
        await client.stop()
    rates = {name: [len(body) / 1e6 / s for s in took] for name, took in seconds.items()}
    for name, rate in rates.items():
        low, high = min(rate), max(rate)
        print(f"{name:14} median {statistics.median(rate):6.0f} MB/s  ({low:.0f} to {high:.0f})")
    pairs = zip(rates["securefed"], rates["bare grpc.aio"], strict=True)
    print(f"ratio          median {statistics.median(a / b for a, b in pairs):6.2f}")


def main() -> None:
    """Start both servers, measure, stop them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--chunk-kib", type=int, default=1024)
    args = parser.parse_args()
    ids = (create_tls_identity("coordinator"), create_tls_identity("bank-a"))
    limits = Limits(chunk_bytes=args.chunk_kib * 1024)
    context = multiprocessing.get_context("spawn")
    ports, servers = {}, []
    for which in ("ours", "bare"):
        near, far = context.Pipe()
        size = args.megabytes * 1_000_000
        server = context.Process(target=run_server, args=(which, far, *ids, size, limits))
        server.start()
        servers.append(server)
        ports[which] = near.recv()
    try:
        asyncio.run(measure(ports, ids, args))
    finally:
        for server in servers:
            server.terminate()
            server.join()


if __name__ == "__main__":
    main()
