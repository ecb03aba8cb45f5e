"""Partial decryption and combining for a million values: a key holder alone, and two of three."""

from __future__ import annotations

import secrets
import sys

from paillier_peers.scheme import LANE_BITS, VALUES, wall
from parties.paillier_workers import PaillierWorkers, paillier_workers
from protocols.paillier.dealing_primes import safe_primes
from protocols.paillier.dealing_shares import deal_key
from protocols.paillier.encryption import encrypt
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.integers import mpz
from protocols.paillier.keys import PublicKey
from protocols.paillier.obfuscators import make_obfuscators
from protocols.paillier.threshold import Partial, combine, partial_decryption
from protocols.paillier.threshold_key import KeyShare, ThresholdKey


def show_trustees(bits: int, sample: int) -> None:
    """Print passing seconds and bytes of one trustee, and of the coordinator, by workers.

    Args:
        bits: of the modulus.
        sample: ciphertexts that are measured.
    """
    primes = safe_primes(bits, secrets.token_bytes)
    public = PublicKey(int(primes[0] * primes[1]), secrets.token_bytes(32))
    count = -(-VALUES // ((bits - 1) // LANE_BITS))
    base = FixedBase.build(public, expected=sample)
    plain = [mpz(secrets.randbelow(public.n)) for _ in range(sample)]
    ready = make_obfuscators(public, sample, random=secrets.token_bytes, powers=base.powers)
    sent = encrypt(public, plain, ready).ciphertexts
    print("\n| opening | workers | partial decryption, s | combine, s | MB sent by each |")
    print("| --- | --- | --- | --- | --- |")
    for trustees, threshold in ((1, 1), (3, 2)):
        key, shares = deal_key(
            public,
            primes,
            trustees=trustees,
            threshold=threshold,
            degree=1,
            random=secrets.token_bytes,
        )
        partials = [partial_decryption(key, share, sent) for share in shares[:threshold]]
        if combine(key, sent, partials) != plain:
            sys.exit("the sum is wrong")
        for number in (1, 2):
            workers = paillier_workers(number)
            try:
                raised, combined = _turn(key, shares[0], sent, partials, workers)
            finally:
                workers.close()
            print(
                f"| {threshold} of {trustees} | {number} | {raised / sample * count:.3g} | "
                f"{combined / sample * count:.3g} | {count * key.residue_bytes / 1e6:.2f} |"
            )


def _turn(
    key: ThresholdKey,
    share: KeyShare,
    sent: list[mpz],
    partials: list[Partial],
    workers: PaillierWorkers,
) -> tuple[float, float]:
    spread = workers.spread
    return (
        wall(lambda: partial_decryption(key, share, sent, spread)),
        wall(lambda: combine(key, sent, partials, spread)),
    )
