"""Every table of learning, from the public data sets, into a page.

Run: python benchmarks/learning.py --data DIR [--seeds 5] [--only NAME ...] [--quick]
[--write docs/benchmarks.md]. DIR, or the environment variable SECUREFED_DATA, holds the folders
heart_disease and adult of the UCI repository, ml-latest-small of GroupLens and tinyshakespeare. A
table stands between two comments of the page, and nothing else of the page changes. ``--quick``
shows that everything runs: one split, few rounds; it writes nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import language
from learning_tables import adult, demonstration, films, heads, heart, identical, private
from learning_tables.report import Told, printed, replace_table
from recommend import pairwise, read_films
from recommend_scale import scale

from securefed.learning.torch_parameters import limit_threads


def speeches(told: Told) -> Sequence[language.Speech]:
    """Read the plays."""
    return language.read_speeches(told.data / "tinyshakespeare" / "input.txt")


SECTIONS: Final[dict[str, Callable[[Told], str]]] = {
    "demonstration": demonstration.section,
    "heads": heads.section,
    "heart": heart.section,
    "adult": adult.section,
    "private": private.section,
    "films": films.section,
    "pairwise": lambda told: printed(pairwise, read_films(told.data / "ml-latest-small")),
    "scale": lambda _told: printed(scale, None),
    "words": lambda told: printed(language.exact, speeches(told), told.seeds),
    "noised-words": lambda told: printed(language.private, speeches(told), told.seeds),
    "characters": lambda told: printed(language.gru, speeches(told), 0, None),
    "identical": identical.section,
}
"""Each is a function from ``Told`` to Markdown; ``printed`` makes one of a function that prints."""
SLOW: Final = ("pairwise", "scale", "words", "noised-words", "characters")
"""Left out of a quick run, as they have no quick form."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SECUREFED_DATA", ""))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=sorted(SECTIONS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args(arguments)
    if not given.data:
        print("no data: give --data DIR or set SECUREFED_DATA")
        return
    limit_threads(1)
    told = Told(Path(given.data), 1 if given.quick else given.seeds, given.quick)
    chosen = given.only or [name for name in SECTIONS if not (given.quick and name in SLOW)]
    for name in chosen:
        started = time.perf_counter()
        table = SECTIONS[name](told)
        print(f"\n## {name}, {time.perf_counter() - started:.0f} s\n\n{table}", flush=True)
        if given.write is not None and not given.quick:
            page = given.write.read_text(encoding="utf-8")
            given.write.write_text(replace_table(page, name, table), encoding="utf-8")


if __name__ == "__main__":
    main()
