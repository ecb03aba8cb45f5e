"""The demonstration: scikit-learn's breast cancer data at five companies."""

from __future__ import annotations

from securefed.data.loaders import load_breast_cancer
from securefed.data.partition import Split, dirichlet_split, train_test_split


def breast_cancer_companies(
    *,
    companies: int = 5,
    alpha: float = 0.5,
    min_per_class: int = 6,
    test_fraction: float = 0.4,
    seed: int = 0,
) -> Split:
    """Split the breast cancer data over companies, label-skewed, and hold out a test set.

    Args:
        companies: number of companies, at least 2.
        alpha: Dirichlet concentration of each class over the companies.
        min_per_class: fewest rows of each class at each company.
        test_fraction: share of each class that is held out.
        seed: seed of both draws.

    Raises:
        InputError: an argument is out of range, or no draw satisfies ``min_per_class``.
        MisuseError: scikit-learn is not installed; names the extra.
    """
    train, test = train_test_split(load_breast_cancer(), test_fraction=test_fraction, seed=seed)
    parts = dirichlet_split(
        train, companies=companies, alpha=alpha, min_per_class=min_per_class, seed=seed
    )
    return Split(parts, test)
