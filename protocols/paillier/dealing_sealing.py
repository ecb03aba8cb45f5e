"""One share, sealed by the dealer for one trustee's ceremony key.

The derived key is used once: HKDF-SHA256 (RFC 5869) over X25519 (RFC 7748) with the ceremony, both
public keys, the trustee and the threshold key in ``info``; a nonce would have nothing to vary.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.errors import ShareError
from protocols.masking.ephemeral import EphemeralKey
from protocols.paillier.dealing_context import CeremonyContext
from protocols.paillier.integers import absorb, mpz
from protocols.paillier.threshold_key import KeyShare, ThresholdKey, residue_to_bytes

_LABEL_SEALED: Final = b"securefed sealed share v1"
_ZERO_NONCE: Final = bytes(12)


def _binding(
    context: CeremonyContext, key: ThresholdKey, index: int, dealer_key: bytes, trustee_key: bytes
) -> bytes:
    return absorb(
        _LABEL_SEALED,
        context.digest(),
        key.digest(),
        index.to_bytes(4, "big"),
        dealer_key,
        trustee_key,
    ).digest()


def _aead(secret: bytes, binding: bytes) -> AESGCM:
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_LABEL_SEALED + binding)
    return AESGCM(derive.derive(secret))


def seal_share(
    context: CeremonyContext,
    key: ThresholdKey,
    share: KeyShare,
    own: EphemeralKey,
    trustee_key: bytes,
) -> bytes:
    """Encrypt a share for its trustee; as long as the modulus and a tag of 16 bytes.

    Raises:
        RosterError: the trustee's key is a low-order point.
    """
    secret = own.agree(trustee_key, context.trustees[share.index - 1].name)
    binding = _binding(context, key, share.index, own.public, trustee_key)
    plain = residue_to_bytes(key, share.value)
    return _aead(secret, binding).encrypt(_ZERO_NONCE, plain, binding)


def open_share(
    context: CeremonyContext,
    key: ThresholdKey,
    index: int,
    own: EphemeralKey,
    dealer_key: bytes,
    sealed: bytes,
) -> KeyShare:
    """Decrypt the share of trustee ``index``.

    Raises:
        ShareError: not what the dealer sealed for us in this ceremony.
        RosterError: the dealer's key is a low-order point.
    """
    secret = own.agree(dealer_key, context.dealer.name)
    binding = _binding(context, key, index, dealer_key, own.public)
    try:
        plain = _aead(secret, binding).decrypt(_ZERO_NONCE, sealed, binding)
    except InvalidTag as error:
        reason = "the share does not open: sealed wrongly, or altered"
        raise ShareError(context.dealer.name, "deal", reason) from error
    if len(plain) != key.residue_bytes:
        raise ShareError(context.dealer.name, "deal", "the sealed share has another length")
    return KeyShare(index, mpz(int.from_bytes(plain, "big")))
