"""What will they take next? One large chain and four small shops that sell the same items.

Run: python docs/examples/recommendations_across_shops.py [--svg FILE]. Shoppers are generated. Each
one's last item is hidden and ranked among all items that the shopper does not have.
"""

from __future__ import annotations

import numpy as np
from side_by_side import Comparison, main

from securefed import Federation
from securefed.learning.recommend import (
    Catalogue,
    Ease,
    Histories,
    Holdout,
    Popularity,
    evaluate,
    leave_last_out,
)
from securefed.learning.recommend.demo import shops
from securefed.learning.recommend.interactions import merge

SHOPS = ("chain", "anna", "ben", "cora", "dan")
SPLITS = 4


def market(seed: int) -> tuple[Catalogue, dict[str, Holdout]]:
    """Return the shoppers of a chain of twenty branches and of four shops, the last item hidden."""
    generated = shops(companies=24, users=60, items=150, seed=seed)
    parts = [merge(generated.parts[:20]), *generated.parts[20:]]
    hidden = {name: leave_last_out(part) for name, part in zip(SHOPS, parts, strict=True)}
    return generated.catalogue, hidden


def run() -> Comparison:
    """Compare on several markets; the share of hidden items among the first ten."""
    values = np.empty((SPLITS, len(SHOPS), 4))
    for seed in range(SPLITS):
        catalogue, hidden = market(seed)
        rows = {name: each.train for name, each in hidden.items()}
        counts = sum(Histories.from_interactions(part).raters for part in rows.values())

        def model(least: int, catalogue: Catalogue = catalogue) -> Ease:
            return Ease(catalogue, regularization=60.0, min_support=least, max_users=2048)

        popular = Popularity(catalogue, max_users=2048).fit_plain(list(rows.values()))
        federated = model(5).fit(Federation("shops", list(rows), privacy=None), rows)
        pooled = model(5).fit_plain([merge(list(rows.values()))])
        for place, (name, test) in enumerate(hidden.items()):
            own = model(2).fit_plain([rows[name]])
            for column, one in enumerate((own, federated, pooled, popular)):
                found = evaluate(one.scores, test, popularity=counts.astype(float), negatives=20)
                values[seed, place, column] = found.hit_rate
    return Comparison("HR@10", ("local-only", "federated", "pooled", "popularity"), SHOPS, values)


NOTES = (
    "Federated and pooled are the same model, bit for bit. Three of the small shops gain, one",
    "hardly. The chain, with twenty times as many shoppers as each of the others, gains nothing.",
)

if __name__ == "__main__":
    main(__doc__, run, NOTES)
