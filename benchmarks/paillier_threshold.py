"""Measure threshold decryption under Paillier: what a trustee does, and what the combiner does.

Run ``python benchmarks/paillier_threshold.py [--bits 2048 3072] [--json FILE]``, and the last part
alone by ``--generate BITS ... [--repeats N]``.

1. One exponentiation of a trustee, in the published form (modulo n^{s+1}, exponent of (s+1) |n|
   bits) and in ours (modulo n, exponent of |n| bits), for degrees s = 1, 2, 3; one thread, then
   all cores. The published form is written down here from Damgard and Jurik, PKC 2001; both forms
   open the same ciphertexts, which is checked.
2. The same power by a window that is recoded once for all bases, in Python, beside GMP's own.
3. Proofs: made and checked for a batch, beside one exponentiation per ciphertext.
4. Combining: roots, lifts (also checked for others instead of made), reading off.
5. With ``--generate``: making a key without a dealer, three parties in one process, CPU seconds of
   the busiest party, and what each sends to each other.

Seconds per million parameters are of 16-bit values in 24-bit lanes, room for 256 summands. CPU
seconds except where threads are named; best of the repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import factorial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from protocols.paillier.dealing_primes import safe_primes
from protocols.paillier.dealing_shares import check_verification_keys, deal_key
from protocols.paillier.generation import KeyGenerator
from protocols.paillier.generation_sharing import GenerationContext
from protocols.paillier.integers import invert, mpz, powmod, powmod_base_list
from protocols.paillier.keys import PublicKey
from protocols.paillier.multi_exponentiation import Spread, product_of_powers
from protocols.paillier.threshold import combine_roots, lagrange, open_with, partial_decryption
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from protocols.paillier.threshold_lifting import lift, lifts_hold, logarithm
from protocols.paillier.threshold_proofs import check_proof, prove
from protocols.prg import uniform_below

PARAMETERS = 1_000_000
LANE_BITS = 24
TRUSTEES, THRESHOLD = 3, 2
DEGREES = (1, 2, 3)
CORES = len(os.sched_getaffinity(0))

Results = dict[str, Any]
T = Callable[[], Any]


def cpu(work: T, repeats: int = 2) -> tuple[float, Any]:
    """Least CPU seconds of the repeats, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = process_time()
        result = work()
        best = min(best, process_time() - start)
    return best, result


def wall(work: T, repeats: int = 2) -> float:
    """Least seconds of the repeats."""
    best = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return best


def per_million(bits: int, degree: int) -> int:
    """Ciphertexts of a million parameters."""
    lanes = (bits * degree - 1) // LANE_BITS
    return -(-PARAMETERS // lanes)


def encrypt(key: ThresholdKey, plaintext: int) -> mpz:
    """(1 + n)^M y^{n^s} with a random y."""
    modulus = key.cipher_modulus
    y = mpz(1 + secrets.randbelow(int(key.n) - 1))
    power = powmod(1 + key.n, plaintext, modulus)
    return power * powmod(y, key.plain_modulus, modulus) % modulus


class Published:
    """Damgard and Jurik, PKC 2001, section 4.1: c_i = c^{2 Delta s_i} modulo n^{s+1}."""

    def __init__(self, key: ThresholdKey, primes: tuple[mpz, mpz]) -> None:
        """Share d = 0 mod p'q', d = 1 mod n^s."""
        order, plain = (primes[0] // 2) * (primes[1] // 2), key.plain_modulus
        modulus = int(order * plain)
        secret = order * invert(order, plain)
        slope = mpz(uniform_below(modulus, secrets.token_bytes))
        self.key, self.delta = key, mpz(factorial(TRUSTEES))
        self.shares = [(secret + slope * index) % modulus for index in range(1, TRUSTEES + 1)]

    def partial(self, index: int, ciphertexts: list[mpz]) -> list[mpz]:
        """What trustee ``index`` sends."""
        exponent = 2 * self.delta * self.shares[index - 1]
        powers: list[mpz] = powmod_base_list(ciphertexts, exponent, self.key.cipher_modulus)
        return powers

    def combine(self, first: list[mpz], second: list[mpz]) -> list[mpz]:
        """Open with the partial decryptions of trustees 1 and 2."""
        (one, two), scale = lagrange((1, 2))
        modulus, plain = self.key.cipher_modulus, self.key.plain_modulus
        unscale = invert(4 * self.delta * scale, plain)
        opened = []
        for a, b in zip(first, second, strict=True):
            power = powmod(a, 2 * one, modulus) * powmod(b, 2 * two, modulus) % modulus
            opened.append(logarithm(self.key, power) * unscale % plain)
        return opened


def recoded_window(bases: list[mpz], exponent: mpz, modulus: mpz, width: int = 6) -> list[mpz]:
    """One sliding window for all bases: the exponent is recoded once, the rest is Python."""
    digits, rest, position = [], int(exponent), 0
    while rest:
        zeros = (rest & -rest).bit_length() - 1
        position += zeros
        digits.append((rest >> zeros & ((1 << width) - 1), position))
        rest >>= zeros + width
        position += width
    below = [0, *(place for _, place in digits)]
    plan = [(digit, place - low) for (digit, place), low in zip(digits, below, strict=False)]
    plan.reverse()
    results = []
    for base in bases:
        square, odd = base * base % modulus, [base]
        for _ in range((1 << (width - 1)) - 1):
            odd.append(odd[-1] * square % modulus)
        result = mpz(1)
        for digit, squarings in plan:
            result = result * odd[digit >> 1] % modulus
            for _ in range(squarings):
                result = result * result % modulus
        results.append(result)
    return results


def require(holds: object) -> None:
    """End the run when a result is wrong: figures of wrong results are worth nothing."""
    if not holds:
        sys.exit("a result is wrong; nothing that was measured counts")


def trustee(
    key: ThresholdKey,
    share: KeyShare,
    primes: tuple[mpz, mpz],
    count: int,
    pool: ThreadPoolExecutor,
) -> Results:
    """Measure one trustee's exponentiations at one degree."""
    degree, bits = key.degree, key.public.bits
    plain = [secrets.randbelow(int(key.plain_modulus)) for _ in range(count)]
    ciphertexts = [encrypt(key, one) for one in plain]
    published = Published(key, primes)
    few = ciphertexts[: max(4, count // (4 * degree))]
    slow, first = cpu(lambda: published.partial(1, few))
    require(published.combine(first, published.partial(2, few)) == plain[: len(few)])
    fast, _ = cpu(lambda: partial_decryption(key, share, ciphertexts))
    spread = Spread(pool.map, CORES)
    threads = wall(lambda: partial_decryption(key, share, ciphertexts, spread))
    million = per_million(bits, degree)
    return {
        "degree": degree,
        "ciphertexts_per_million": million,
        "published_ms": 1e3 * slow / len(few),
        "published_s_per_million": slow / len(few) * million,
        "ours_ms": 1e3 * fast / count,
        "ours_s_per_million": fast / count * million,
        "threads": CORES,
        "ours_threads_wall_ms": 1e3 * threads / count,
        "ours_threads_wall_s_per_million": threads / count * million,
        "bytes_per_million": million * key.residue_bytes,
        "published_bytes_per_million": million * key.ciphertext_bytes,
    }


def windows(key: ThresholdKey, share: KeyShare, count: int) -> Results:
    """Measure a window that is recoded once, beside GMP's."""
    n, exponent = key.n, 2 * key.delta * share.value
    bases = [mpz(secrets.randbelow(int(n))) for _ in range(count)]
    gmp, expected = cpu(lambda: powmod_base_list(bases, exponent, n))
    python, got = cpu(lambda: recoded_window(bases, exponent, n))
    require(got == expected)
    squarings, _ = cpu(lambda: powmod_base_list(bases, mpz(1) << exponent.bit_length(), n))
    return {
        "gmp_ms": 1e3 * gmp / count,
        "recoded_in_python_ms": 1e3 * python / count,
        "squarings_alone_in_gmp_ms": 1e3 * squarings / count,
    }


def proofs(key: ThresholdKey, share: KeyShare, count: int) -> Results:
    """Measure a batched proof, and what grows with the batch."""
    ciphertexts = [encrypt(key, 1) for _ in range(4)] * (count // 4)
    for place, one in enumerate(ciphertexts):
        ciphertexts[place] = one * (1 + place) % key.cipher_modulus
    partial = partial_decryption(key, share, ciphertexts)
    make, proof = cpu(
        lambda: prove(
            key, share, ciphertexts, partial, binding=bytes(32), random=secrets.token_bytes
        )
    )
    check, _ = cpu(
        lambda: check_proof(key, ciphertexts, partial, proof, binding=bytes(32), name="")
    )
    short = [secrets.randbits(128) for _ in ciphertexts]
    reduced = [one % key.n for one in ciphertexts]
    fold, _ = cpu(lambda: product_of_powers(reduced, short, key.n))
    naive, _ = cpu(lambda: [powmod(b, e, key.n) for b, e in zip(reduced, short, strict=True)], 1)
    return {
        "ciphertexts": count,
        "prove_s": make,
        "check_s": check,
        "fold_us_per_ciphertext": 1e6 * fold / count,
        "fold_naive_us_per_ciphertext": 1e6 * naive / count,
        "bytes": 16 + len(proof.response),
    }


def combining(
    key: ThresholdKey, shares: tuple[KeyShare, ...], count: int, pool: ThreadPoolExecutor
) -> Results:
    """Measure the combiner at one degree."""
    plain = [secrets.randbelow(int(key.plain_modulus)) for _ in range(count)]
    ciphertexts = [encrypt(key, one) for one in plain]
    made = [partial_decryption(key, share, ciphertexts) for share in shares[:THRESHOLD]]
    roots_s, roots = cpu(lambda: combine_roots(key, ciphertexts, made))
    lift_s, lifted = cpu(lambda: lift(key, roots.values))
    spread = Spread(pool.map, CORES)
    threads = wall(lambda: lift(key, roots.values, spread))
    read_s, opened = cpu(lambda: open_with(key, ciphertexts, roots, lifted))
    require(opened == plain)
    many = 40
    hold_s, holds = cpu(
        lambda: lifts_hold(key, roots.values * many, lifted * many, secrets.token_bytes)
    )
    require(holds)
    million = per_million(key.public.bits, key.degree)
    return {
        "degree": key.degree,
        "roots_ms": 1e3 * roots_s / count,
        "lift_ms": 1e3 * lift_s / count,
        "lift_threads_wall_ms": 1e3 * threads / count,
        "check_lift_us": 1e6 * hold_s / (count * many),
        "read_ms": 1e3 * read_s / count,
        "s_per_million": (roots_s + lift_s + read_s) / count * million,
        "lift_s_per_million": lift_s / count * million,
        "lift_threads_wall_s_per_million": threads / count * million,
        "check_lifts_s_per_million": hold_s / (count * many) * million,
    }


def dealing(bits: int) -> tuple[Results, PublicKey, tuple[mpz, mpz]]:
    """Make a key; measure it."""
    made, primes = cpu(lambda: safe_primes(bits, secrets.token_bytes), 1)
    public = PublicKey(int(primes[0] * primes[1]), secrets.token_bytes(32))
    share, dealt = cpu(lambda: deal(public, primes, 1), 1)
    check, _ = cpu(lambda: check_verification_keys(dealt[0]))
    return {"safe_primes_s": made, "share_s": share, "check_s": check}, public, primes


def deal(
    public: PublicKey, primes: tuple[mpz, mpz], degree: int
) -> tuple[ThresholdKey, tuple[KeyShare, ...]]:
    """Share a key among three, two of whom decrypt."""
    return deal_key(
        public,
        primes,
        trustees=TRUSTEES,
        threshold=THRESHOLD,
        degree=degree,
        random=secrets.token_bytes,
    )


def measure(bits: int, count: int) -> Results:
    """Everything at one size of the modulus."""
    results, public, primes = dealing(bits)
    found: Results = {"bits": bits, "dealing": results, "trustee": [], "combiner": []}
    print(f"\n{bits} bits: {results}", flush=True)
    with ThreadPoolExecutor(CORES) as pool:
        for degree in DEGREES:
            key, shares = deal(public, primes, degree)
            found["trustee"].append(trustee(key, shares[0], primes, count, pool))
            print("trustee", show(found["trustee"][-1]), flush=True)
            found["combiner"].append(combining(key, shares, max(8, count // 4), pool))
            print("combiner", show(found["combiner"][-1]), flush=True)
    key, shares = deal(public, primes, 1)
    found["windows"] = windows(key, shares[0], max(8, count // 4))
    print("windows", show(found["windows"]), flush=True)
    found["proofs"] = [proofs(key, shares[0], size) for size in (8, 2000)]
    for one in found["proofs"]:
        print("proof", show(one), flush=True)
    return found


def generate(bits: int) -> Results:
    """Make one key without a dealer; see who was busy for how long, and what went over a link."""
    names = tuple(f"party-{index}" for index in range(TRUSTEES))
    context = GenerationContext(
        secrets.token_bytes(32), names, THRESHOLD, bits, allow_small=bits < 2048
    )
    parties = [
        KeyGenerator(context, index, secrets.token_bytes) for index in range(1, TRUSTEES + 1)
    ]
    busy, link, steps = dict.fromkeys(range(1, TRUSTEES + 1), 0.0), 0, 0
    sent = {one.index: one.start() for one in parties}
    while sent:
        steps += 1
        width = (int(sent[1].bound).bit_length() + 7) // 8
        link += sent[1].count * width
        answers = {}
        for one in parties:
            inbox = {
                index: [int(value) for value in lists.private.get(one.index, lists.broadcast)]
                for index, lists in sent.items()
                if index != one.index
            }
            start = process_time()
            answer = one.receive(inbox)
            busy[one.index] += process_time() - start
            if answer is not None:
                answers[one.index] = answer
        sent = answers
    key, share = parties[0].result
    require(key.public.bits == bits)
    ciphertexts = [encrypt(key, 1) for _ in range(4)]
    slow, _ = cpu(lambda: partial_decryption(key, share, ciphertexts))
    return {
        "bits": bits,
        "cpu_s": max(busy.values()),
        "steps": steps,
        "megabytes_per_link": link / 1e6,
        "partial_decryption_ms": 1e3 * slow / 4,
    }


def show(results: Results) -> str:
    """One line of figures."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in results.items()
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure threshold decryption under Paillier.")
    parser.add_argument("--bits", type=int, nargs="+", default=[2048, 3072])
    parser.add_argument("--count", type=int, default=64, help="ciphertexts behind each figure")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--generate", type=int, nargs="+", default=[], metavar="BITS")
    parser.add_argument("--repeats", type=int, default=3, help="keys that are generated")
    arguments = parser.parse_args()
    for bits in arguments.generate:
        for _ in range(arguments.repeats):
            print("generated", show(generate(bits)), flush=True)
    if arguments.generate:
        return
    results = [measure(bits, arguments.count) for bits in arguments.bits]
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
