"""``securefed`` commands, run in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer

from securefed.cli import app, main

WORDS = "correct horse battery"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


Run = Callable[..., Done]


@lru_cache(1)
def built() -> Any:
    """The whole command line, put together once: typer does it anew at every call."""
    return typer.main.get_command(app)


def commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> Run:
    """Go to a directory; return what runs a command there."""
    monkeypatch.chdir(home)
    monkeypatch.setattr("securefed.cli.app", built())
    monkeypatch.setenv("SECUREFED_PASSPHRASE", WORDS)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["securefed", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int)
        return Done(int(code), captured.out, captured.err)

    return call
