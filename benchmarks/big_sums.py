"""One masking round of very many values: peak memory of every process, and seconds of every step.

    python benchmarks/big_sums.py [--values 100000000] [--parties 3] [--model] [--json FILE]

A coordinator and its parties run as processes of their own, over TLS 1.3 on loopback, through the
very nodes that ``securefed`` runs. Only the task is the benchmark's: a party makes up its update,
float64, in one array, and the coordinator compares the sum with the true one, value by value. By
default the global model is a digest of the sum, so that the figures are those of the sum alone;
``--model`` hands out, and keeps, a float32 model of as many values.

Memory is the peak of resident pages beyond what a process held when its node began. It counts pages
of a spool file that are mapped, which the system can take back at any time. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from masking_rounds.report import machine
from numpy.typing import NDArray

from parties.coordinator.node import CoordinatorNode
from parties.coordinator.strategy import Published
from parties.parallel import add_masks_parallel, available_cores
from parties.party.node import PartyNode
from parties.reporting import Event
from parties.store import Journal
from parties.transport.client import Client
from parties.transport.server import Server
from parties.transport.tls import PinnedPeer, TlsIdentity, create_tls_identity
from protocols.agreement import SignedAgreement, agreement_from, bring_into_force, sign_agreement
from protocols.agreement import Task as AgreedTask
from protocols.errors import NoResultError
from protocols.identity import Identity

HUB: Final = "coordinator"
SCALE: Final = 2.0**12
BOUND: Final = 128.0
PERIOD: Final = 2**20
"""Updates lie on the grid, from -128 to 128, so that the true sum is known exactly."""
STEP: Final = 2**16
"""Values made or compared at a time."""
SECONDS: Final = 7200.0
MARKS: Final = ("step", "training", "submitted", "confirmed", "unmasked", "round-completed")
"""Events at which a step ends; what came before has the peak between the two."""

Stage = tuple[str, float, int]
"""What a process went on to, after how many seconds, and its peak until then in bytes."""


def update_of(number: int, low: int, high: int) -> NDArray[np.float64]:
    """Return values ``[low, high)`` of a party's update."""
    units = np.arange(low, high, dtype=np.int64)
    units *= 2 * number + 3
    units %= PERIOD
    return (units - PERIOD // 2) / SCALE


def pieces(count: int) -> Iterator[slice]:
    """Yield short ranges that cover ``range(count)``."""
    return (slice(low, min(low + STEP, count)) for low in range(0, count, STEP))


def peak_bytes() -> int:
    """Return the most bytes that this process had resident at one time, and begin anew."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return 1024 * int(found.split()[1])


@dataclass(slots=True)
class Meter:
    """Peaks and seconds of one process."""

    before: int = field(default_factory=lambda: (peak_bytes(), peak_bytes())[1])
    since: float = field(default_factory=time.perf_counter)
    stages: list[Stage] = field(default_factory=list)

    def mark(self, what: str) -> None:
        """Record what ends now."""
        now = time.perf_counter()
        self.stages.append((what, now - self.since, peak_bytes() - self.before))
        self.since = now

    def hear(self, event: Event) -> None:
        """Record the end of a step."""
        if event.name in MARKS:
            self.mark(str(event.detail.get("step", event.name)))


@dataclass(frozen=True)
class Site:
    """What all processes know; in a benchmark they also know each other's keys."""

    home: Path
    names: tuple[str, ...]
    values: int
    model: bool
    address: str
    seeds: dict[str, bytes] = field(repr=False)
    tls: dict[str, TlsIdentity] = field(repr=False)

    def identity(self, name: str) -> Identity:
        return Identity(name, self.seeds[name])

    @cached_property
    def signed(self) -> SignedAgreement:
        """The agreement, signed by everybody."""
        agreement = agreement_from(
            {
                "version": 1,
                "federation": "big-sums",
                "coordinator": {**self._member(HUB), "address": self.address},
                "parties": [self._member(name) for name in self.names],
                "tasks": [
                    {
                        "name": "big",
                        "kind": "big-sum",
                        "rounds": 1,
                        "parameters": {},
                        "dimension": self.values,
                        "bound": BOUND,
                        "scale": SCALE,
                        "modulus_bits": 24,
                        "rounding": "nearest",
                    }
                ],
                "aggregation": {
                    "mode": "masking",
                    "colluders": 0,
                    "max_dropouts": 0,
                    "threshold": 1,
                    "min_cohort": len(self.names),
                    "neighbours": "complete",
                    "deadline_seconds": SECONDS / 2,
                    "max_message_bytes": 4 * self.values + 2**20,
                },
                "privacy": {"mechanism": "none", "accept_no_differential_privacy": True},
            }
        )
        signatures = [sign_agreement(agreement, self.identity(name)) for name in self.names]
        return bring_into_force(agreement, signatures)

    def _member(self, name: str) -> dict[str, str]:
        key = self.identity(name).public.raw.hex()
        return {
            "name": name,
            "public_key": key,
            "tls_fingerprint": self.tls[name].fingerprint,
        }

    def link(self, name: str) -> dict[str, Any]:
        """Return what both ends of the transport are told."""
        spool = self.home / name / "spool"
        spool.mkdir(parents=True)
        return {
            "address": self.address,
            "tls": self.tls[name],
            "agreement_digest": self.signed.digest,
            "max_message_bytes": self.signed.agreement.aggregation.max_message_bytes,
            "spool": spool,
        }

    def pin(self, name: str) -> PinnedPeer:
        return PinnedPeer(name, self.tls[name].certificate_pem, self.tls[name].fingerprint)

    def initial_model(self, _task: AgreedTask | None = None) -> bytes:
        return b"\1" * (4 * self.values if self.model else 32)


@dataclass(frozen=True)
class Maker:
    """A trainer that makes up its update."""

    site: Site
    number: int

    def initial_model(self, task: AgreedTask) -> bytes:
        return self.site.initial_model(task)

    def clip_norm(self, _task: AgreedTask, _model: bytes) -> None:
        return None

    def update(self, task: AgreedTask, _model: bytes, _round: int) -> NDArray[np.float64]:
        values = np.empty(task.dimension)
        for piece in pieces(values.size):
            values[piece] = update_of(self.number, piece.start, piece.stop)
        return values

    def people(self, _task: AgreedTask) -> int:
        return 1

    def person_vectors(self, *_arguments: object) -> tuple[()]:
        return ()

    def finished(self, _task: AgreedTask, _model: bytes) -> None:
        return None


@dataclass(frozen=True)
class Comparison:
    """A strategy that compares the sum with the true one."""

    site: Site
    meter: Meter

    def initial_model(self, task: AgreedTask) -> bytes:
        return self.site.initial_model(task)

    def clip_norm(self, _task: AgreedTask, _model: bytes) -> None:
        return None

    def combine(
        self, _task: AgreedTask, _model: bytes, total: NDArray[np.float64], *_: object, **__: object
    ) -> Published:
        self.meter.mark("opened")
        parties = range(len(self.site.names))
        for piece in pieces(total.size):
            true = sum(update_of(number, piece.start, piece.stop) for number in parties)
            if not np.array_equal(total[piece], true):
                raise NoResultError("the sum is not the true one")
        model = bytes(32)
        if self.site.model:
            model = bytes(memoryview(total.astype(np.float32)).cast("B"))
        self.meter.mark("compared")
        return Published(model, True, {})


async def coordinate(site: Site, meter: Meter) -> None:
    """Run the coordinator."""
    peers = {name: site.pin(name) for name in site.names}
    add = partial(add_masks_parallel, workers=available_cores())
    with Journal(site.home / HUB / "state") as journal:
        node = CoordinatorNode(
            site.signed,
            site.identity(HUB),
            Server(peers=peers, **site.link(HUB)),
            journal,
            Comparison(site, meter),
            add=add,
            report=meter.hear,
        )
        await node.run()


async def take_part(site: Site, meter: Meter, name: str) -> None:
    """Run a party."""
    with Journal(site.home / name / "state") as journal:
        node = PartyNode(
            site.signed,
            site.identity(name),
            Client(server=site.pin(HUB), **site.link(name)),
            journal,
            Maker(site, site.names.index(name)),
            random=secrets.token_bytes,
            report=meter.hear,
        )
        await node.run()


def process(site: Site, name: str, pipe: Connection) -> None:
    """Entry point of a process."""
    meter = Meter()
    work = coordinate(site, meter) if name == HUB else take_part(site, meter, name)
    asyncio.run(work)
    meter.mark("end")
    pipe.send((meter.before, meter.stages))


def measure(
    values: int, parties: int, *, model: bool = False
) -> dict[str, tuple[int, list[Stage]]]:
    """Run one round; return, by process, its bytes before and its stages."""
    names = tuple(f"party-{number}" for number in range(parties))
    with socket.socket() as probe, tempfile.TemporaryDirectory() as home:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        seeds = {name: secrets.token_bytes(32) for name in (HUB, *names)}
        tls = {name: create_tls_identity(name) for name in seeds}
        site = Site(Path(home), names, values, model, address, seeds, tls)
        context = multiprocessing.get_context("spawn")
        running, results = [], {}
        for name in seeds:
            near, far = context.Pipe(duplex=False)
            child = context.Process(target=process, args=(site, name, far))
            child.start()
            far.close()
            running.append((name, near, child))
        try:
            for name, near, _ in running:
                if not near.poll(SECONDS):
                    raise SystemExit(f"{name} did not end")
                results[name] = near.recv()
        finally:
            for _, _, child in running:
                child.terminate()
                child.join()
    return results


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--values", type=int, default=100_000_000)
    parser.add_argument("--parties", type=int, default=3)
    parser.add_argument("--model", action="store_true", help="a float32 model of as many values")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    print(" ".join(f"{name}={value}" for name, value in machine().items()), flush=True)
    results = measure(options.values, options.parties, model=options.model)
    for name, (before, stages) in results.items():
        most = max(peak for _, _, peak in stages)
        print(
            f"{name}: {before / 1e6:.0f} MB before, {most / 1e6:.0f} MB more at its peak, "
            f"{most / options.values:.1f} bytes a value"
        )
        for what, seconds, peak in stages:
            print(f"  until {what:16} {seconds:8.2f} s {peak / options.values:6.1f} bytes a value")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
