"""The key holder as an object: everything its process needs, then one call. Needs ``paillier``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parties.keyholder import KeyHolderNode
from parties.keys import KeyRing
from parties.reporting import BackgroundReport, Report, log_event
from parties.store import Journal
from parties.transport.client import Client
from protocols.errors import NoResultError
from securefed.ciphers import NodeKeys, tools_of
from securefed.deployment import Deployment
from securefed.nodes import check_keys, owner_of, run_until_done, spool_of


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A key holder ready to run.

    Attributes:
        deployment: agreement in force and pinned certificates.
        keys: its identity and certificate.
        node_keys: the key that it dealt to itself, see :func:`securefed.ciphers.load_node_keys`.
        state: directory of its durable state; the same one after a restart.
        address: where the coordinator is, if not at the agreement's address.
        patience_seconds: how long to wait for a silent coordinator.
    """

    deployment: Deployment
    keys: KeyRing
    node_keys: NodeKeys
    state: Path
    address: str | None = None
    patience_seconds: float = 3600.0

    def run(self, report: Report = log_event) -> None:
        """Open one sum of masked vectors a round, until the run ends.

        Raises:
            NoResultError: the coordinator ended the run without a result.
            SecureFedError: anything else that ends it; its text says what to do.
        """
        run_until_done(self.start(report))

    async def start(self, report: Report = log_event) -> None:
        """Do the same inside a running event loop."""
        deployment, identity = self.deployment, self.keys.identity
        agreement = deployment.agreement
        check_keys(deployment, self.keys, identity.name)
        owner = owner_of(deployment, identity.name)
        tools = tools_of(deployment.signed, identity, self.node_keys)
        with BackgroundReport(report) as tell, Journal(self.state, owner=owner) as journal:
            client = Client(
                address=self.address or agreement.coordinator.address,
                server=deployment.pins[agreement.coordinator.name],
                tls=self.keys.tls,
                agreement_digest=deployment.signed.digest,
                max_message_bytes=agreement.aggregation.max_message_bytes,
                spool=spool_of(self.state),
            )
            node = KeyHolderNode(
                tools, client, journal, report=tell, patience_seconds=self.patience_seconds
            )
            try:
                ended = await node.run()
            finally:
                tools.workers.close()
        if ended.outcome != "completed":
            raise NoResultError(f"the coordinator ended the run without a result: {ended.reason}")
