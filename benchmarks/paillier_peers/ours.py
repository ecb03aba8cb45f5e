"""Our own scheme: cold, from a pool, added, decrypted, proved; with one worker and with two."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.pool import Pool as Processes
from time import process_time
from typing import Final

import numpy as np

from paillier_peers.scheme import LANE_BITS, RING_BITS, VALUES, Operation, Scheme, cpu, wall
from protocols.paillier.ciphertexts import (
    Product,
    ciphertexts_from_bytes,
    ciphertexts_to_bytes,
)
from protocols.paillier.encryption import encrypt
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.integers import mpz
from protocols.paillier.key_proof import open_key, prove_key
from protocols.paillier.keys import PrivateKey, generate_key
from protocols.paillier.obfuscators import Obfuscator, make_obfuscators
from protocols.paillier.packing import Lanes
from protocols.paillier.plaintext_proof import check_plaintexts, prove_plaintexts
from protocols.paillier.pool import Pool
from protocols.prg import expand

SUMMANDS: Final = 1 << LANE_BITS - RING_BITS
ROUNDS_OF_TABLES: Final = 10
"""Vectors of a million values for which the tables of one key are laid out."""


class Ours:
    """A key, its tables, and a whole vector of a million values to work on."""

    def __init__(self, bits: int) -> None:
        begun = process_time()
        self.private: PrivateKey = generate_key(bits, random=secrets.token_bytes)
        self.key = self.private.public
        self.lanes = Lanes(RING_BITS, SUMMANDS, bits)
        self.count = self.lanes.plaintexts(VALUES)
        self.base = FixedBase.build(self.key, expected=ROUNDS_OF_TABLES * self.count)
        self.setup = process_time() - begun
        self.words = expand(secrets.token_bytes(32), VALUES, RING_BITS)
        self.sample = 512 if bits <= 2048 else 192
        self.pool = Pool(self.key)
        # Only for timing: in a vector that is sent, no value comes twice.
        few = [one.use() for one in self.obfuscators(self.sample)]
        self.values = [few[index % len(few)] for index in range(self.count)]
        self.fill()
        self.packed = self.lanes.pack(self.words)
        taken = self.pool.take(self.count)
        self.encrypted = encrypt(self.key, self.packed, taken)
        self.product = Product(self.key, self.count, limit=1000)
        self.product.multiply(self.encrypted.ciphertexts)
        self.check()

    def obfuscators(self, count: int) -> list[Obfuscator]:
        """Make obfuscators from nothing."""
        return make_obfuscators(
            self.key, count, random=secrets.token_bytes, powers=self.base.powers
        )

    def fill(self) -> None:
        """Put a whole vector's obfuscators into the pool."""
        self.pool.add([Obfuscator(self.key, *one) for one in self.values])

    def check(self) -> None:
        """End unless a sum comes out."""
        product = Product(self.key, 4, limit=2)
        product.multiply(self.encrypted.ciphertexts[:4])
        product.multiply(self.encrypted.ciphertexts[:4])
        size = 4 * self.lanes.lanes
        total = self.lanes.unpack(self.private.decrypt(product.ciphertexts()), size)
        if not np.array_equal(total, self.words[:size] * np.uint16(2)):
            sys.exit("the sum is wrong")

    def cold(self) -> bytes:
        """From words to the wire, for a sample."""
        packed = self.lanes.pack(self.words[: self.sample * self.lanes.lanes])
        made = encrypt(self.key, packed, self.obfuscators(len(packed)))
        return ciphertexts_to_bytes(self.key, made.ciphertexts)

    def online(self) -> bytes:
        """From words to the wire with a full pool, for the whole vector."""
        packed = self.lanes.pack(self.words)
        made = encrypt(self.key, packed, self.pool.take(len(packed)))
        return ciphertexts_to_bytes(self.key, made.ciphertexts)

    def add(self) -> None:
        """Multiply a whole vector in."""
        self.product.multiply(self.encrypted.ciphertexts)

    def decrypt(self) -> None:
        """Decrypt and unpack a sample."""
        size = self.sample // 4
        opened = self.private.decrypt(self.encrypted.ciphertexts[:size])
        self.lanes.unpack(opened, size * self.lanes.lanes)

    def scheme(self) -> Scheme:
        """Return what is compared with others."""
        return Scheme(
            "ours",
            self.count,
            self.key.ciphertext_bytes,
            self.setup,
            {
                "encrypt": Operation(self.cold, self.sample),
                "online": Operation(self.online, self.count, self.fill),
                "add": Operation(self.add, self.count),
                "decrypt": Operation(self.decrypt, self.sample // 4),
            },
        )

    def once(self) -> list[tuple[str, float]]:
        """Return CPU seconds of tables for one vector alone, and of that vector with them."""
        kept = {}

        def build() -> None:
            kept["base"] = FixedBase.build(self.key, expected=self.count)

        tables = cpu(build)
        exponents = secrets.token_bytes(self.sample * self.base.exponent_bytes)
        powers = cpu(lambda: kept["base"].powers(exponents)) / self.sample * self.count
        window = kept["base"].window
        return [
            (f"tables for one vector, window {window}", tables),
            ("obfuscators of one vector with them", powers),
        ]

    def proofs(self) -> list[tuple[str, float]]:
        """Return CPU seconds of every check and proof, of a whole vector where it is one."""
        place = {"agreement": bytes(32), "prover": "holder"}
        about = {"agreement": bytes(32), "round_": 1, "party": "party"}
        sent = self.encrypted.ciphertexts
        data = ciphertexts_to_bytes(self.key, sent)
        kept = {}

        def prove_the_key() -> None:
            kept["key"] = prove_key(self.private, **place, random=secrets.token_bytes)

        def prove_the_vector() -> None:
            kept["vector"] = prove_plaintexts(self.encrypted, **about, random=secrets.token_bytes)

        return [
            ("prove a key", cpu(prove_the_key)),
            ("check a key and its proofs", cpu(lambda: open_key(kept["key"], **place, step="k"))),
            (
                "read a vector, all in the group",
                cpu(
                    lambda: ciphertexts_from_bytes(self.key, data, self.count, party="p", step="s")
                ),
            ),
            ("prove knowledge of a vector", cpu(prove_the_vector)),
            (
                "check knowledge of a vector",
                cpu(lambda: check_plaintexts(self.key, sent, kept["vector"], **about)),
            ),
            ("pack", cpu(lambda: self.lanes.pack(self.words))),
            ("unpack", cpu(lambda: self.lanes.unpack(self.packed, VALUES))),
        ]


_BASES: dict[int, FixedBase] = {}
"""Tables that the processes inherit."""


def _powers(task: tuple[int, bytes]) -> bytes:
    base = _BASES[task[0]]
    return ciphertexts_to_bytes(base.key, base.powers(task[1]))


class TwoWorkers:
    """The same work by two processes (powers) and by two threads (everything else)."""

    def __init__(self, ours: Ours) -> None:
        self.ours = ours
        _BASES[ours.key.bits] = ours.base
        self.processes: Processes = get_context("fork").Pool(2)
        self.threads = ThreadPoolExecutor(2)
        # Reference counts make each process copy the tables that it inherited, once.
        for _ in range(4):
            self.powers(secrets.token_bytes(256 * ours.base.exponent_bytes))

    def close(self) -> None:
        """End processes and threads."""
        self.processes.terminate()
        self.processes.join()
        self.threads.shutdown()

    def powers(self, exponents: bytes) -> list[mpz]:
        """Do ``FixedBase.powers`` in two processes."""
        size = 64 * self.ours.base.exponent_bytes
        tasks = [
            (self.ours.key.bits, exponents[low : low + size])
            for low in range(0, len(exponents), size)
        ]
        step, read = self.ours.key.ciphertext_bytes, mpz.from_bytes
        return [
            read(part[low : low + step], "big")
            for part in self.processes.imap(_powers, tasks)
            for low in range(0, len(part), step)
        ]

    def ranges(self, work: Callable[[int, int], None], count: int) -> None:
        """Be a ``Ranges`` on two threads."""
        edges = [count * piece // 8 for piece in range(9)]
        for piece in [
            self.threads.submit(work, low, high) for low, high in pairwise(edges) if low < high
        ]:
            piece.result()

    def turn(self) -> dict[str, tuple[float, float]]:
        """Return the seconds that pass for a whole vector with one worker and with two."""
        ours, bits = self.ours, self.ours.key.bits
        few, many = (128, 1024) if bits <= 2048 else (64, 384)
        exponents = secrets.token_bytes(many * ours.base.exponent_bytes)
        sent = ours.encrypted.ciphertexts
        pairs = {
            "obfuscators, processes": (
                many,
                lambda: ours.base.powers(exponents),
                lambda: self.powers(exponents),
            ),
            "obfuscators, threads": (
                many,
                lambda: ours.base.powers(exponents),
                lambda: ours.base.powers(exponents, ranges=self.ranges),
            ),
            "add, threads": (
                ours.count,
                ours.add,
                lambda: ours.product.multiply(sent, ranges=self.ranges),
            ),
            "decrypt, threads": (
                few,
                lambda: ours.private.decrypt(sent[:few]),
                lambda: ours.private.decrypt(sent[:few], ranges=self.ranges),
            ),
        }
        return {
            name: (wall(one) / units * ours.count, wall(two) / units * ours.count)
            for name, (units, one, two) in pairs.items()
        }
