"""An n-gram model whose counts hide every person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from protocols.errors import MisuseError
from securefed.data.table import Data
from securefed.learning.estimator import TaskPlan
from securefed.learning.language.ngram import NgramEstimator
from securefed.learning.language.person_ngrams import (
    PersonNgrams,
    person_norm,
    person_texts,
)
from securefed.learning.person import PersonPrivacy
from securefed.learning.private_fit import PrivateFit, fit_private
from securefed.learning.registry import build_task
from securefed.learning.state import State


class DpNgram(NgramEstimator):
    """N-grams counted under noise, for a federation with a privacy goal.

    A person is whoever the person's column of one company says; each counts with few n-grams.

    Attributes:
        noise_: standard deviation of the noise of each count in the last round.
        private_fit_: after :meth:`fit_noised`.
    """

    default_name = "dp-ngram"
    noise_: float
    private_fit_: PrivateFit

    def __init__(
        self,
        order: int = 2,
        *,
        people: int,
        most: int = 50,
        tokens: int = 1000,
        cells: int = 2**16,
        vocabulary: int = 250,
        table: int = 2**12,
        min_support: int = 5,
        discount: float = 0.75,
    ) -> None:
        """Describe a model.

        Args:
            order: words of the longest n-gram, 2 to 5; each order costs a noised round.
            people: of all companies together, at most; public.
            most: most n-grams of a person that count in a round, those the person uses most. The
                noise grows with its root.
            tokens: words of a person that are read.
            cells: of the hash of words, and values of a sum; at least vocabulary^2 + vocabulary.
            vocabulary: most words of the model.
            table: most n-grams of each length above 1.
            min_support: least noised count; in any case no less than what noise alone reaches,
                sqrt(2 log(candidates)) of its deviations.
            discount: D.
        """
        self.order, self.people, self.most, self.tokens = order, people, most, tokens
        self.cells, self.vocabulary, self.table = cells, vocabulary, table
        self.min_support, self.discount = min_support, discount

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task; every round is charged, so that there is no spare one."""
        del features, parties
        if self.order < 2:
            raise MisuseError("DpNgram takes an order of at least 2")
        privacy = {"clip_norm": person_norm(self.most), "people": self.people}
        own = {"tokens": self.tokens, "most": self.most}
        return (TaskPlan("", PersonNgrams.kind, self.order, self._common() | own, privacy),)

    def party_data(self, data: Data, party: int) -> Data:
        """Return one row a person."""
        del party
        return person_texts(data, self.tokens)

    def read(self, states: Mapping[str, State]) -> None:
        """Set the model and the deviation of its noise."""
        super().read(states)
        self.noise_ = float(states[""]["noise"])

    def fit_noised(self, parts: Sequence[Data], privacy: PersonPrivacy, *, seed: int = 0) -> Self:
        """Learn in one process by the same noised sums, seeded: an experiment that hides nobody.

        Args:
            parts: one part a company.
            privacy: clip norm, noise and honest parties.
            seed: of the noise.
        """
        if not parts:
            raise MisuseError("a fit needs at least one part")
        (plan,) = self.plan(self.order, len(parts))
        rows = [self.party_data(part, number) for number, part in enumerate(parts)]
        task = build_task(plan.kind, plan.parameters, name=self.default_name)
        self.private_fit_ = fit_private(
            task, rows, privacy, rounds=plan.rounds, seed=seed, people=self.people
        )
        self.n_rounds_ = self.private_fit_.fit.rounds
        return self.load({self.default_name: self.private_fit_.fit.state})

    def _private_form(self) -> str:
        return "its sums are noised; it needs a federation with a PrivacyGoal"
