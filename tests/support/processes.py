"""Federations of real operating system processes over real TLS on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from parties.keys import KeyRing, certificate_path, create_keys
from protocols.agreement import sign_agreement
from securefed.agreement_text import agreement_to_toml
from securefed.data.loaders import save_party_data
from securefed.data.table import Data
from securefed.demo.processes import Line, Nodes
from securefed.federation import Federation, MemberKeys
from securefed.learning.glm import coefficients
from securefed.learning.reference import fit_pooled
from securefed.learning.state import state_from_bytes
from support.nodes import GLM, toy_data

HUB = "coordinator"
CANARY = "correct horse battery staple"
SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Site:
    """Keys, agreement, signatures, certificates and data of one federation in one directory."""

    def __init__(
        self,
        home: Path,
        n: int = 3,
        *,
        data: Mapping[str, Data] | None = None,
        deadline_seconds: float = 20.0,
    ) -> None:
        self.home = home
        self.names = [f"party-{i}" for i in range(n)]
        self.data = dict(data or toy_data(n))
        lead = self.plan(deadline_seconds)
        self.rings: dict[str, KeyRing] = {
            name: create_keys(home / "keys", name, CANARY.encode(), log2_cost=14)
            for name in [HUB, *self.names, *lead.key_makers]
        }
        members = {
            name: MemberKeys(ring.identity.public.raw.hex(), ring.tls.fingerprint)
            for name, ring in self.rings.items()
        }
        self.address = f"localhost:{free_port()}"
        self.agreement = lead.agreement(members, coordinator=HUB, address=self.address)
        (home / "agreement.toml").write_text(agreement_to_toml(self.agreement))
        for directory in ("signatures", "certificates", "data", "logs"):
            (home / directory).mkdir()
        for name in self.names:
            signature = sign_agreement(self.agreement, self.rings[name].identity)
            (home / "signatures" / f"{name}.sig").write_bytes(signature.to_json())
            save_party_data(home / "data" / f"{name}.npz", self.data[name])
        for name in self.rings:
            shutil.copyfile(
                certificate_path(home / "keys", name), home / "certificates" / f"{name}.pem"
            )

    def plan(self, deadline_seconds: float) -> Federation:
        """What is computed: exact sums, unless a site of another kind says otherwise."""
        lead = Federation(
            "processes",
            self.names,
            privacy=None,
            colluders=0,
            max_dropouts=0,
            deadline_seconds=deadline_seconds,
        )
        return lead.add_task("risk", GLM["kind"], rounds=GLM["rounds"], **GLM["parameters"])

    def arguments(self, name: str, *more: str) -> list[str]:
        """The command line of a node after ``securefed``."""
        models = ["--out", f"{self.home}/models/{name}"]
        if name == HUB:
            role, own = "coordinator", models
        elif name in self.names:
            data = ["--data", f"{self.home}/data/{name}.npz"]
            role, own = "party", ["--name", name, *data, *models]
        else:
            role, own = "keyholder", ["--as", name]
        return [
            role,
            "run",
            f"{self.home}/agreement.toml",
            "--keys",
            f"{self.home}/keys",
            "--state",
            f"{self.home}/state/{name}",
            "--json",
            *own,
            *more,
        ]

    def model(self, name: str) -> bytes:
        return (self.home / "models" / name / "risk.safetensors").read_bytes()

    def check_model(self) -> None:
        """Everybody holds the same model, and it is that of the pooled rows."""
        model = self.model(HUB)
        assert all(self.model(name) == model for name in self.names)
        pooled = fit_pooled(
            GLM["kind"], GLM["parameters"], [self.data[name] for name in self.names], rounds=15
        )
        found = coefficients(state_from_bytes(model))
        assert np.abs(found - coefficients(pooled.state)).max() < 1e-6


class Running:
    """Processes of a site. A name may be started again; ``party-0`` then becomes ``party-0#2``."""

    def __init__(self, site: Site) -> None:
        self.site = site
        environment = {"SECUREFED_PASSPHRASE": CANARY, "GRPC_VERBOSITY": "NONE"}
        self.nodes = Nodes(site.home / "logs", environment)
        self.lines: list[Line] = []
        self._times: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.nodes.end()

    def start(self, name: str, *more: str) -> str:
        """Start a node, and return the name under which it is followed."""
        self._times[name] = self._times.get(name, 0) + 1
        alias = name if self._times[name] == 1 else f"{name}#{self._times[name]}"
        self.nodes.start(alias, self.site.arguments(name, *more))
        return alias

    def pid(self, alias: str) -> int:
        return self.nodes._children[alias].pid

    def send(self, alias: str, number: signal.Signals) -> None:
        os.kill(self.pid(alias), number)

    def told(self, alias: str, name: str) -> list[Mapping[str, Any]]:
        return [line.event for line in self.lines if line.node == alias and line.name == name]

    def until(
        self,
        alias: str,
        name: str,
        count: int = 1,
        where: Callable[[Mapping[str, Any]], bool] = lambda _event: True,
    ) -> Mapping[str, Any]:
        """Wait until a node has printed such an event so often; return the last of them."""
        end = time.monotonic() + SECONDS
        while True:
            found = [event for event in self.told(alias, name) if where(event)]
            if len(found) >= count:
                return found[count - 1]
            line = self.nodes.next_line(max(0.01, end - time.monotonic()))
            if line is None:
                shown = "\n".join(f"{line.node} {dict(line.event)}" for line in self.lines[-30:])
                raise AssertionError(f"{alias} never told {name}:\n{shown}\n{self._logs()}")
            self.lines.append(line)

    def code(self, alias: str) -> int:
        """Wait until a node ends; return its exit code."""
        return int(self.until(alias, "exit")["code"])

    def _logs(self) -> str:
        return "\n".join(
            f"{file.name}: {file.read_text()[-1500:]}"
            for file in (self.site.home / "logs").iterdir()
        )


MARK = "SECUREFED_TEST_MARK"


class Marked:
    """A command whose every descendant can be found, whatever session or parent it has."""

    def __init__(self, mark: str, temporary: Path, *arguments: str) -> None:
        self._needle = f"{MARK}={mark}".encode()
        environment = {**os.environ, MARK: mark, "TMPDIR": str(temporary), "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "securefed", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pid in self.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()

    def alive(self, part: str = "") -> list[int]:
        """Processes that are left, of those whose command line holds ``part``."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    marked = self._needle in (entry / "environ").read_bytes().split(b"\0")
                    if marked and part.encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found

    def until(self, text: str) -> None:
        """Read what it prints up to a line with this text."""
        shown = []
        for line in self.process.stdout:
            shown.append(line)
            if text in line:
                return
        raise AssertionError(f"never printed {text!r}: {''.join(shown)}")

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return exit code, the rest of stdout, and stderr."""
        out, errors = self.process.communicate(timeout=150)
        return self.process.returncode, out, errors
