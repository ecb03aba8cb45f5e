"""Who is there: connections, withdrawals and how long a lost party is waited for."""

from __future__ import annotations

from collections.abc import Iterable


class Membership:
    """Which parties can still answer in the current round. Times are monotonic seconds."""

    def __init__(self, names: Iterable[str], *, grace_seconds: float, now: float) -> None:
        """Args: all parties' names; how long one that lost its connection is waited for."""
        self._grace = grace_seconds
        self._gone_since = dict.fromkeys(names, now)
        self._connected: set[str] = set()
        self._left: dict[str, str] = {}
        self._barred: dict[str, str] = {}
        self._arriving: dict[str, float] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._gone_since

    @property
    def connected(self) -> frozenset[str]:
        """Names of the parties with a connection."""
        return frozenset(self._connected)

    @property
    def invitable(self) -> frozenset[str]:
        """Names of those of them that are not barred."""
        return self.connected - self._barred.keys()

    @property
    def left(self) -> dict[str, str]:
        """Why each party left the current round."""
        return dict(self._left)

    def came(self, name: str, *, resumed: bool) -> None:
        """A party connected; one with a new session has lost the round's messages."""
        self._connected.add(name)
        self._arriving.pop(name, None)
        if not resumed:
            self._left.setdefault(name, "it came after the round was opened, or was restarted")

    def returned(self, name: str, now: float) -> None:
        """A party has a new session and has not said yet how much of the ledger it holds."""
        self._connected.discard(name)
        self._arriving[name] = now
        self.leave(name, "it came after the round was opened, or was restarted")

    def arriving(self, now: float) -> bool:
        """Tell whether a party is about to say so."""
        return any(now - since < self._grace for since in self._arriving.values())

    def went(self, name: str, now: float) -> None:
        """A party lost its connection."""
        self._connected.discard(name)
        self._arriving.pop(name, None)
        self._gone_since[name] = now

    def leave(self, name: str, reason: str) -> None:
        """A party is out of the current round for good."""
        self._left.setdefault(name, reason)

    def bar(self, name: str, reason: str) -> None:
        """A party spoilt a round that all others finished; this process invites it no more."""
        self._barred[name] = reason

    def begin_round(self) -> frozenset[str]:
        """Forget who left the last round; return the parties to invite."""
        self._left = dict(self._barred)
        return self.invitable

    def expected(self, names: Iterable[str], now: float) -> frozenset[str]:
        """Which of ``names`` may still answer: not withdrawn, and connected or lost just now."""
        return frozenset(
            name
            for name in names
            if name not in self._left
            and (name in self._connected or now - self._gone_since[name] < self._grace)
        )

    def next_expiry(self, names: Iterable[str], now: float) -> float | None:
        """Seconds until the next of the lost ones among ``names`` is given up, if any is."""
        waits = [
            self._gone_since[name] + self._grace - now
            for name in self.expected(names, now)
            if name not in self._connected
        ]
        return max(0.0, min(waits)) if waits else None
