"""Plain phe and SecretFlow HEU, on the same packed plaintexts."""

from __future__ import annotations

import sys
from importlib import import_module
from time import process_time

from phe.paillier import generate_paillier_keypair

from paillier_peers.scheme import VALUES, Operation, Scheme, plaintexts, vector_length


def plain_phe(bits: int) -> Scheme:
    """One value per ciphertext through phe's own interface."""
    begun = process_time()
    public, private = generate_paillier_keypair(n_length=bits)
    setup = process_time() - begun
    count = 8 if bits <= 2048 else 4
    numbers = [public.encrypt(one) for one in range(count)]
    if private.decrypt(numbers[1] + numbers[2]) != 3:
        sys.exit("phe does not add")
    return Scheme(
        "phe, one value each",
        VALUES,
        bits // 4,
        setup,
        {
            "encrypt": Operation(lambda: [public.encrypt(one) for one in range(count)], count),
            "add": Operation(lambda: [numbers[0] + numbers[1] for _ in range(100)], 100),
            "decrypt": Operation(lambda: [private.decrypt(one) for one in numbers], count),
        },
    )


def packed_phe(bits: int) -> Scheme:
    """Our packing, phe's arithmetic."""
    begun = process_time()
    public, private = generate_paillier_keypair(n_length=bits)
    setup = process_time() - begun
    count = 8 if bits <= 2048 else 4
    rows = plaintexts(bits, count)
    sent = [public.raw_encrypt(one) for one in rows]
    encrypted = [public.encrypt(one) for one in (1, 2)]
    if [private.raw_decrypt(one) for one in sent] != rows:
        sys.exit("phe does not decrypt")
    return Scheme(
        "phe, packed by us",
        vector_length(bits),
        bits // 4,
        setup,
        {
            "encrypt": Operation(lambda: [public.raw_encrypt(one) for one in rows], count),
            "add": Operation(lambda: [encrypted[0] + encrypted[1] for _ in range(100)], 100),
            "decrypt": Operation(lambda: [private.raw_decrypt(one) for one in sent], count),
        },
    )


def heu(bits: int) -> Scheme | None:
    """HEU's ZPaillier, short exponents and tables in C++; nothing where it is not installed."""
    try:
        numpy, phe = import_module("heu.numpy"), import_module("heu.phe")
    except ImportError:
        return None
    kind = phe.SchemaType.ZPaillier
    begun = process_time()
    kit = numpy.setup(kind, bits)
    setup = process_time() - begun
    encryptor, decryptor, evaluator = kit.encryptor(), kit.decryptor(), kit.evaluator()
    count = 256 if bits <= 2048 else 96
    rows = plaintexts(bits, count)
    ready = numpy.array(rows, phe.BigintEncoder(kind))
    sent = encryptor.encrypt(ready)
    total = evaluator.add(sent, sent)
    opened = decryptor.decrypt(total).to_numpy(phe.BigintDecoder())
    if [int(one) for one in opened] != [2 * one for one in rows]:
        sys.exit("HEU does not add")
    few = numpy.array(rows[:64], phe.BigintEncoder(kind))
    few_sent = encryptor.encrypt(few)
    return Scheme(
        "HEU ZPaillier, packed by us",
        vector_length(bits),
        len(sent.serialize()) // count,
        setup,
        {
            "encrypt": Operation(lambda: encryptor.encrypt(ready), count),
            "add": Operation(lambda: [evaluator.add(sent, sent) for _ in range(8)], 8 * count),
            "decrypt": Operation(lambda: decryptor.decrypt(few_sent), 64),
        },
    )
