"""Which 32 bytes may be an Ed25519 public key."""

from __future__ import annotations

from typing import Final

_PRIME: Final = 2**255 - 19
_CURVE_D: Final = -121665 * pow(121666, -1, _PRIME) % _PRIME
_ORDER_8_Y: Final = int.from_bytes(
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
)
_SMALL_ORDER_Y: Final = frozenset({0, 1, _PRIME - 1, _ORDER_8_Y, _PRIME - _ORDER_8_Y})


def is_safe_point(raw: bytes) -> bool:
    """Tell whether 32 bytes are a canonical point on edwards25519 of large order.

    Under a point of small order, such as the neutral one, a signature verifies for any message
    that anybody chooses (RFC 8032 section 5.1.7 leaves that check to the protocol). A typing error
    leaves the curve half of the time, which this finds before anybody signs.
    """
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _PRIME or y in _SMALL_ORDER_Y:
        return False
    # x^2 = (y^2 - 1) / (d y^2 + 1) must be a square; Euler's criterion on the product.
    square = (y * y - 1) * (_CURVE_D * y * y + 1) % _PRIME
    return pow(square, (_PRIME - 1) // 2, _PRIME) == 1
