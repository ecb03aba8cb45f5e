"""Standard errors, p-values and confidence intervals from summed information."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

_TERMS: Final = 500
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class CoefficientTable:
    """Wald statistics of coefficients, in raw units.

    Attributes:
        names: of the coefficients: ``intercept``, ``intercept[0]`` for what company 0 adds to it,
            ``x0`` for feature column 0.
        estimates, standard_errors: shape (coefficients,); a constant column has NaN.
        degrees: of freedom of a t distribution; infinite for a normal one.
    """

    names: tuple[str, ...]
    estimates: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    degrees: float

    @property
    def statistics(self) -> NDArray[np.float64]:
        """Estimates over standard errors: z, or t of a linear regression."""
        return np.asarray(self.estimates / self.standard_errors, dtype=np.float64)

    @property
    def p_values(self) -> NDArray[np.float64]:
        """Two-sided, of the hypothesis that a coefficient is 0."""
        return np.array([two_sided(float(one), self.degrees) for one in self.statistics])

    def interval(self, level: float = 0.95) -> NDArray[np.float64]:
        """Return confidence intervals, shape (coefficients, 2)."""
        reach = critical_value(level, self.degrees) * self.standard_errors
        return np.stack([self.estimates - reach, self.estimates + reach], axis=1)

    def __str__(self) -> str:
        low, high = self.interval().T
        lines = [
            f"{'':<14}{'estimate':>12}{'std. error':>12}{'z or t':>9}{'p':>9}{'95 % interval':>26}"
        ]
        rows = zip(
            self.names,
            self.estimates,
            self.standard_errors,
            self.statistics,
            self.p_values,
            low,
            high,
            strict=True,
        )
        lines += [
            f"{name:<14}{b:>12.4g}{s:>12.4g}{z:>9.2f}{p:>9.4f}{a:>13.4g}{c:>13.4g}"
            for name, b, s, z, p, a, c in rows
        ]
        return "\n".join(lines)


def two_sided(statistic: float, degrees: float) -> float:
    """Return P(|T| >= |statistic|) of Student's t, or of a normal with infinite degrees."""
    if math.isnan(statistic) or degrees <= 0:
        return math.nan
    if math.isinf(degrees):
        return math.erfc(abs(statistic) / math.sqrt(2))
    share = degrees / (degrees + statistic**2)
    return _incomplete_beta(degrees / 2, 0.5, share)


def critical_value(level: float, degrees: float) -> float:
    """Return the t, or z, that is exceeded in absolute value with probability 1 - level."""
    normal = NormalDist().inv_cdf(0.5 + level / 2)
    if math.isinf(degrees) or degrees <= 0:
        return normal if degrees > 0 else math.nan
    low, high = normal, 2 * normal
    while two_sided(high, degrees) > 1 - level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if two_sided(middle, degrees) > 1 - level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function; Lentz's method, Press et al. 2007, section 6.4."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = _away(1 + top / c), 1 / _away(1 + top * d)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(log_front) * value / a


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def raw_transform(
    mean: NDArray[np.float64], scale: NDArray[np.float64], companies: int
) -> NDArray[np.float64]:
    """Return the matrix from coefficients of scaled features to those of raw ones."""
    size = 1 + companies + len(mean)
    matrix = np.eye(size)
    matrix[0, 1 + companies :] = -mean / scale
    matrix[np.arange(1 + companies, size), np.arange(1 + companies, size)] = 1 / scale
    return matrix


def covariance(
    information: NDArray[np.float64],
    penalty: NDArray[np.float64],
    transform: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the covariance T (H + P)^-1 H (H + P)^-1 T' of transformed penalised estimates.

    A coefficient without information, of a constant column, has NaN: where a penalty holds it at 0,
    that is no knowledge of it.
    Source: le Cessie and van Houwelingen 1992, section 3.
    """
    matrix = information + np.diag(penalty)
    used = np.flatnonzero(np.diag(matrix) > 0)
    chosen, unit = np.ix_(used, used), np.sqrt(np.diag(matrix)[used])
    both = np.outer(unit, unit)
    # Through a root of H, no variance can come out negative; in units of the diagonal, columns of
    # unlike sizes cost no digits.
    values, vectors = np.linalg.eigh(information[chosen] / both)
    root = np.linalg.solve(matrix[chosen] / both, vectors * np.sqrt(np.maximum(values, 0)))
    raw = transform[:, used] @ (root / unit[:, np.newaxis])
    found = np.asarray(raw @ raw.T, dtype=np.float64)
    idle = np.flatnonzero(np.diag(information) <= 0)
    found[idle], found[:, idle] = np.nan, np.nan
    return found
