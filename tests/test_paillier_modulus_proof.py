"""Proofs about a key: complete, bound to their place, and out of reach for a bad modulus."""

from __future__ import annotations

import itertools
from math import prod

import gmpy2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import seeded
from support.small_paillier import small_key

from protocols.errors import InputError, MisuseError, PeerError, ProofError, WireError
from protocols.paillier import factor_proof, modulus_proof
from protocols.paillier.factor_proof import (
    FactorProof,
    check_factors,
    group_for,
    prove_factors,
)
from protocols.paillier.integers import mpz
from protocols.paillier.key_proof import (
    MAX_PROVED_KEY_BYTES,
    ProvedKey,
    open_key,
    prove_key,
)
from protocols.paillier.keys import PrivateKey, PublicKey, generate_key
from protocols.paillier.known_groups import group
from protocols.paillier.modulus_proof import (
    CHALLENGES,
    ROOTS,
    ModulusProof,
    challenges,
    check_modulus,
    prove_modulus,
)
from protocols.paillier.primes import random_blum_prime
from protocols.wire import decode, encode

AGREEMENT = bytes(range(32))
PLACE = {"agreement": AGREEMENT, "prover": "holder"}
SEED = bytes(32)


def prime(bits: int, label: object) -> int:
    return int(random_blum_prime(bits, seeded(f"prime {label}")))


def prime_1_mod_4(bits: int, label: int) -> int:
    # 5 modulo 8, where a fourth root of every fourth power is found by one exponentiation.
    candidate = prime(bits, label) // 8 * 8 + 5
    while not gmpy2.is_prime(candidate):
        candidate += 8
    return int(candidate)


@pytest.fixture(scope="module")
def honest() -> tuple[ModulusProof, FactorProof]:
    key = small_key()
    return (
        prove_modulus(key, **PLACE, random=seeded("modulus")),
        prove_factors(key, **PLACE, random=seeded("factors")),
    )


def accept_modulus(proof: ModulusProof, key: PublicKey | None = None, **changes: object) -> None:
    place = PLACE | {"step": "key"} | changes
    check_modulus(key or small_key().public, proof, **place)


def accept_factors(proof: FactorProof, key: PublicKey | None = None, **changes: object) -> None:
    place = PLACE | {"step": "key"} | changes
    check_factors(key or small_key().public, proof, **place)


# Completeness


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([256, 320, 512]))
def test_the_proofs_of_every_honest_key_hold(label, bits):
    key = generate_key(bits, random=seeded(label), allow_small=True)
    accept_modulus(prove_modulus(key, **PLACE, random=seeded(label)), key.public)
    accept_factors(prove_factors(key, **PLACE, random=seeded(label)), key.public)


def test_a_key_of_2048_bits_passes_the_wire_with_its_proofs():
    key = generate_key(2048, random=seeded("wire"))
    data = encode(prove_key(key, **PLACE, random=seeded("proof")))
    assert len(data) < MAX_PROVED_KEY_BYTES / 2
    proved = decode(ProvedKey, data, party="holder", step="key", max_bytes=MAX_PROVED_KEY_BYTES)
    assert open_key(proved, **PLACE, step="key") == key.public
    for other in ({"agreement": bytes(32)}, {"prover": "other"}):
        with pytest.raises(ProofError) as caught:
            open_key(proved, **(PLACE | other), step="key")
        assert caught.value.step == "key"
    short = msgspec.structs.replace(proved, key=proved.key[:-1])
    with pytest.raises(WireError):
        open_key(short, **PLACE, step="key")


def test_a_small_key_is_not_opened_however_well_it_is_proved(honest):
    proved = ProvedKey(small_key().public.to_bytes(), *honest)
    with pytest.raises(WireError, match="2048 to 4096"):
        open_key(proved, **PLACE, step="key")


def test_proofs_show_no_secret(honest):
    key = small_key()
    for proof in honest:
        assert str(key.p) not in repr(proof)
        assert key.p.to_bytes(32, "big") not in encode(proof)


# Binding


@pytest.mark.parametrize("change", [{"agreement": bytes(32)}, {"prover": "holder2"}])
def test_a_proof_for_another_agreement_or_owner_is_refused_by_name(honest, change):
    for accept, proof in zip((accept_modulus, accept_factors), honest, strict=True):
        with pytest.raises(ProofError, match="not proved") as caught:
            accept(proof, **change)
        assert caught.value.party == change.get("prover", "holder")


def test_a_proof_for_another_key_or_another_seed_is_refused(honest):
    for key in (small_key("other").public, PublicKey(small_key().public.n, SEED, allow_small=True)):
        for accept, proof in zip((accept_modulus, accept_factors), honest, strict=True):
            with pytest.raises(ProofError):
                accept(proof, key)


def changed_bytes(value: bytes) -> list[bytes]:
    """A bit here and there, another length, zeros, the largest number, halves swapped."""
    flips = [
        value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        for at in {0, len(value) // 2, len(value) - 1}
    ]
    size = len(value)
    return [
        *flips,
        value[1:],
        value + b"\0",
        b"",
        bytes(size),
        b"\xff" * size,
        value[size // 2 :] + value[: size // 2],
    ]


@pytest.mark.parametrize("field", ModulusProof.__struct_fields__)
def test_every_change_to_a_modulus_proof_is_refused(honest, field):
    for value in changed_bytes(getattr(honest[0], field)):
        with pytest.raises(ProofError):
            accept_modulus(msgspec.structs.replace(honest[0], **{field: value}))


@pytest.mark.parametrize("field", FactorProof.__struct_fields__)
def test_every_change_to_a_factor_proof_is_refused(honest, field):
    for value in changed_bytes(getattr(honest[1], field)):
        with pytest.raises(ProofError):
            accept_factors(msgspec.structs.replace(honest[1], **{field: value}))


def test_every_single_answer_of_a_modulus_proof_counts(honest):
    proof, size = honest[0], 64
    for index in range(CHALLENGES):
        at = index * size + size - 1
        one = bytearray(proof.fourth_roots)
        one[at] ^= 1
        with pytest.raises(ProofError, match="fourth root"):
            accept_modulus(msgspec.structs.replace(proof, fourth_roots=bytes(one)))
        choices = bytearray(proof.choices)
        choices[index] ^= 1
        with pytest.raises(ProofError, match="fourth root"):
            accept_modulus(msgspec.structs.replace(proof, choices=bytes(choices)))
    for index in range(ROOTS):
        roots = bytearray(proof.roots)
        roots[index * size + size - 1] ^= 1
        with pytest.raises(ProofError, match="a root"):
            accept_modulus(msgspec.structs.replace(proof, roots=bytes(roots)))


def test_a_w_with_another_jacobi_symbol_is_refused(honest):
    key = small_key()
    for w in (4, key.public.n - 4, key.p):
        changed = msgspec.structs.replace(honest[0], w=int(w).to_bytes(64, "big"))
        with pytest.raises(ProofError, match="Jacobi"):
            accept_modulus(changed)


def test_no_answer_has_two_forms(honest):
    """Or whoever passes a proof on could change it."""
    proof, n = honest[0], small_key().public.n
    for field in ("roots", "fourth_roots"):
        data = getattr(proof, field)
        values = [int.from_bytes(data[low : low + 64], "big") for low in range(0, len(data), 64)]
        index = min(range(len(values)), key=values.__getitem__)
        values[index] += n
        longer = b"".join(value.to_bytes(64, "big") for value in values)
        with pytest.raises(ProofError, match="out of range"):
            accept_modulus(msgspec.structs.replace(proof, **{field: longer}))
    choices = bytes([proof.choices[0] | 4, *proof.choices[1:]])
    with pytest.raises(ProofError, match="out of range"):
        accept_modulus(msgspec.structs.replace(proof, choices=choices))
    for field in ("first", "second", "first_blind", "second_blind", "commitment"):
        longer = b"\0" + getattr(honest[1], field)
        with pytest.raises(ProofError, match="length"):
            accept_factors(msgspec.structs.replace(honest[1], **{field: longer}))


def test_challenges_depend_on_all_that_the_proof_is_about():
    key, other = small_key().public, small_key("other").public
    places = [
        (key, mpz(2), AGREEMENT, "holder"),
        (key, mpz(3), AGREEMENT, "holder"),
        (key, mpz(2), bytes(32), "holder"),
        (key, mpz(2), AGREEMENT, "holder2"),
        (other, mpz(2), AGREEMENT, "holder"),
        (PublicKey(key.n, SEED, allow_small=True), mpz(2), AGREEMENT, "holder"),
    ]
    assert len({next(challenges(*place)) for place in places}) == len(places)


def test_every_challenge_is_a_unit_whatever_the_modulus():
    class Smooth:
        """A modulus of which most numbers share a factor."""

        n, bits = 3 * 5 * 7 * 11 * 13, 16

        def to_bytes(self) -> bytes:
            return b"smooth"

    found = list(challenges(Smooth(), mpz(2), AGREEMENT, "holder"))
    assert len(found) == CHALLENGES
    assert all(gmpy2.gcd(one, Smooth.n) == 1 for one in found)


def test_a_commitment_outside_the_group_is_refused(honest):
    space = group_for(512)
    size = space.element_bytes
    [outside] = [k for k in range(3, 40) if gmpy2.jacobi(k, space.modulus) == -1][:1]
    for value in (0, 1, space.modulus - 1, space.modulus, outside):
        changed = msgspec.structs.replace(honest[1], commitment=int(value).to_bytes(size, "big"))
        with pytest.raises(ProofError, match="out of range"):
            accept_factors(changed)
    blind = int(space.order).to_bytes(size, "big")
    for field in ("first_blind", "second_blind"):
        with pytest.raises(ProofError, match="out of range"):
            accept_factors(msgspec.structs.replace(honest[1], **{field: blind}))


# Bad moduli, proved as well as somebody who knows all their factors can


def power_root(value: int, exponent: int, prime_: int, times: int) -> int | None:
    """An exponent-th root modulo prime_^times, if there is one that is found by this."""
    modulus = prime_**times
    order = modulus // prime_ * (prime_ - 1)
    # Divide out of the order what it shares with the exponent, then invert.
    part = order
    while (shared := gmpy2.gcd(part, exponent)) > 1:
        part //= shared
    root = pow(value, int(gmpy2.invert(exponent, part)), modulus)
    return root if pow(root, exponent, modulus) == value % modulus else None


def chinese(residues: list[int], moduli: list[int]) -> int:
    n = prod(moduli)
    return (
        sum(
            r * (n // m) * int(gmpy2.invert(n // m, m))
            for r, m in zip(residues, moduli, strict=True)
        )
        % n
    )


def root_of(value: int, exponent: int, factors: dict[int, int]) -> int | None:
    roots = [power_root(value, exponent, one, times) for one, times in factors.items()]
    if None in roots:
        return None
    return chinese(roots, [one**times for one, times in factors.items()])


def best_proof(key: PublicKey, factors: dict[int, int], w: int) -> tuple[ModulusProof, int, int]:
    """Answer every challenge that has an answer; tell how many n-th and fourth roots there were."""
    n, size = key.n, key.bits // 8
    roots, fourths, choices = [], [], []
    for y in map(int, challenges(key, mpz(w), AGREEMENT, "holder")):
        roots.append(root_of(y, n, factors))
        for choice in range(4):
            square = (-1 if choice & 1 else 1) * (w if choice & 2 else 1) * y % n
            root = root_of(square, 4, factors)
            if root is not None:
                break
        fourths.append(root)
        choices.append(choice)
    join = [
        b"".join((one or 1).to_bytes(size, "big") for one in x) for x in (roots[:ROOTS], fourths)
    ]
    answered = (sum(one is not None for one in x) for x in (roots[:ROOTS], fourths))
    return ModulusProof(w.to_bytes(size, "big"), *join, bytes(choices)), *answered


def some_w(n: int) -> int:
    return next(w for w in itertools.count(2) if gmpy2.jacobi(w, n) == -1)


def public(n: int) -> PublicKey:
    return PublicKey(n, SEED, allow_small=True)


def test_the_best_proof_of_a_good_modulus_is_accepted_so_that_it_means_something_below():
    key = small_key()
    proof, roots, fourths = best_proof(key.public, {key.p: 1, key.q: 1}, some_w(key.public.n))
    assert (roots, fourths) == (ROOTS, CHALLENGES)
    accept_modulus(proof)


def refused_everywhere(factors: dict[int, int], bits: int = 512) -> tuple[int, int]:
    """Try several w, and tell the most n-th and fourth roots that the best of them allowed."""
    n = prod(one**times for one, times in factors.items())
    assert n.bit_length() == bits
    counts = []
    candidates = (w for w in itertools.count(2) if gmpy2.jacobi(w, n) == -1)
    for w in itertools.islice(candidates, 4):
        proof, *answered = best_proof(public(n), factors, w)
        counts.append(answered)
        with pytest.raises(ProofError, match="root is wrong"):
            accept_modulus(proof, public(n))
    return max(one for one, _ in counts), max(one for _, one in counts)


def product_of(bits: int, sizes: list[int], label: str) -> list[int]:
    """Primes of these sizes, 3 modulo 4, whose product has exactly ``bits`` bits."""
    return next(
        found
        for attempt in itertools.count()
        if prod(
            found := [prime(size, f"{label} {attempt} {k}") for k, size in enumerate(sizes)]
        ).bit_length()
        == bits
    )


def test_three_primes_are_refused():
    factors = product_of(512, [176, 168, 168], "three")
    roots, fourths = refused_everywhere(dict.fromkeys(factors, 1))
    # About half of the challenges have a fourth root: one bit of soundness each.
    assert roots == ROOTS
    assert 45 < fourths < 95


def test_a_square_times_a_prime_is_refused():
    p = prime(168, "squared")
    q = next(
        q
        for k in itertools.count()
        if (p * p * (q := prime(176, f"other {k}"))).bit_length() == 512
    )
    roots, _ = refused_everywhere({p: 2, q: 1})
    assert roots == 0


def test_a_prime_that_is_1_modulo_4_is_refused():
    p = prime_1_mod_4(256, 1)
    q = prime(256, "beside")
    roots, fourths = refused_everywhere({p: 1, q: 1})
    assert roots == ROOTS
    assert 45 < fourths < 95


def test_two_primes_that_are_1_modulo_4_are_refused():
    factors = {prime_1_mod_4(256, 1): 1, prime_1_mod_4(256, 2): 1}
    _, fourths = refused_everywhere(factors)
    assert fourths < 60


def test_a_factor_that_divides_the_order_is_refused():
    # q = 1 modulo p: n-th powers are p-th powers modulo q.
    p = prime(128, "divides")
    q = next(
        q
        for k in itertools.count((2**256 - 2**249) // (4 * p))
        if gmpy2.is_prime(q := 4 * k * p + 2 * p + 1) and q % 4 == 3
    )
    n = p * int(q)
    r = next(r for k in itertools.count() if (n * (r := prime(128, k))).bit_length() == 512)
    roots, _ = refused_everywhere({p: 1, int(q): 1, r: 1})
    assert roots == 0


def test_a_prime_a_prime_power_and_a_small_factor_do_not_even_become_keys():
    for n in (prime(512, "whole"), prime(256, "square") ** 2, 3 * prime_1_mod_4(511, 1)):
        with pytest.raises(InputError):
            public(n)


# A factor that is too small


def test_a_small_factor_leaves_no_room_for_an_honest_answer():
    # 64 and 448 bits: both Blum primes, which the proof of the modulus lets pass.
    p, q = product_of(512, [64, 448], "uneven")
    key = public(p * q)
    proof, *_ = best_proof(key, {p: 1, q: 1}, some_w(p * q))
    accept_modulus(proof, key)

    size = 512 // 16 + 32
    with pytest.raises(ProofError, match="challenge"):
        accept_factors(uneven_proof(key, p, q, size), key)
    # What it would take: the equations hold, and the length alone gives it away.
    with pytest.raises(ProofError, match="length"):
        accept_factors(uneven_proof(key, p, q, size + 16), key)


def uneven_proof(key: PublicKey, p: int, q: int, size: int) -> FactorProof:
    """Prove with the true factors, of which one is too large; ``size`` bytes of the responses."""
    space = group_for(key.bits)
    blind, mask = 12345, 1 << 300
    commitment = factor_proof._commit(space, space.g, mpz(p), mpz(blind))
    messages = tuple(
        factor_proof._commit(space, base, mpz(mask), mpz(7)) for base in (space.g, commitment)
    )
    challenge = factor_proof._challenge(key, space, commitment, messages, *PLACE.values())
    e = int.from_bytes(challenge, "big")
    assert mask + e * q >= 1 << 8 * (512 // 16 + 32)
    numbers = [
        (int(commitment), space.element_bytes),
        (mask + e * p, size),
        ((mask + e * q) % (1 << 8 * size), size),
        (int((7 + e * blind) % space.order), space.element_bytes),
        (int((7 - e * q * blind) % space.order), space.element_bytes),
    ]
    first, *rest = (number.to_bytes(length, "big") for number, length in numbers)
    return FactorProof(first, challenge, *rest)


def test_factors_whose_product_is_not_the_modulus_are_refused():
    key, other = small_key(), small_key("other")

    class Mixed:
        public, p, q = key.public, key.p, other.q

    with pytest.raises(ProofError, match="challenge"):
        accept_factors(prove_factors(Mixed(), **PLACE, random=seeded("mixed")))


def test_the_bound_leaves_integers_below_the_order_of_the_group():
    for bits in (256, 512, 2048, 2560, 3072, 4096):
        space = group_for(bits)
        bound = 1 << bits // 2 + 256
        assert bound**2 + (1 << bits + 256) < space.order


# The groups


@pytest.mark.parametrize("bits", [2048, 3072, 4096, 6144])
def test_the_groups_are_those_of_rfc_7919(bits):
    space = group(bits)
    assert space.modulus.bit_length() == bits
    assert hex(space.modulus).startswith(
        "0xffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583"
    )
    assert hex(space.modulus).endswith("ffffffffffffffff")
    assert space.order == (space.modulus - 1) // 2
    assert gmpy2.powmod(2, space.modulus - 1, space.modulus) == 1
    assert gmpy2.powmod(3, space.order - 1, space.order) == 1
    assert space.holds(space.g)
    assert space.holds(space.h)
    assert not space.holds(mpz(1))
    with pytest.raises(MisuseError):
        group(bits + 1)


def test_the_smallest_group_is_a_safe_prime_to_the_last_bit():
    space = group(2048)
    assert hex(space.modulus).endswith("886b423861285c97ffffffffffffffff")
    assert gmpy2.is_prime(space.modulus, 25)
    assert gmpy2.is_prime(space.order, 25)


def test_a_failed_proof_is_the_peers_fault():
    assert issubclass(ProofError, PeerError)
    assert modulus_proof.CHALLENGES == 128
    assert isinstance(small_key(), PrivateKey)
