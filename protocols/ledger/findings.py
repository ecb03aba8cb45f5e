"""Every name under which something is found wrong with a ledger, and what it means.

The names are part of the interface: reports, exit messages and other tools rely on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_FILE: Final = {
    "not-a-bundle": "The file does not begin like an exported ledger.",
    "unknown-version": "A later release wrote the file; it has to be read with that one.",
    "truncated": "The file ends in the middle: a part of it is missing.",
    "footer-mismatch": "The file was damaged: its last bytes do not fit the leaves before them.",
    "trailing-bytes": "The file goes on after the end of the ledger.",
    "too-many-leaves": "The file holds more leaves than any run can have.",
}
_LEAF: Final = {
    "leaf-oversized": "A leaf is longer than any that a run writes.",
    "leaf-unreadable": "The bytes of a leaf are no leaf, or not the one way to write it.",
    "leaf-out-of-place": "A leaf stands where none of its kind can stand.",
    "agreement-missing": "The ledger does not begin with the agreement.",
    "agreement-invalid": "The agreement is unsafe, unreadable, or not signed by every party.",
    "key-missing": "Vectors are encrypted, and their key does not stand behind the agreement.",
    "key-invalid": "The key of the ciphertexts is not in force, not well formed, or another one.",
    "another-agreement": "Something was signed under another agreement than the expected one.",
    "other-version": "A message is of another version of the protocol.",
    "wrong-sender": "A message comes from somebody who cannot say this.",
    "wrong-round": "A message belongs to another round than the one that it stands in.",
    "signature-invalid": "A signature is not by the key that it claims.",
    "payload-unreadable": "What was signed is not one whole message of its kind.",
}
_INTENT: Final = {
    "checkpoint-missing": "A round, or the end, does not come directly after a checkpoint.",
    "intent-missing": "A party took part in a round whose intent is not on record.",
    "round-gap": "Rounds are not numbered without gaps: one is missing, or comes twice.",
    "tree-mismatch": "A round does not build on exactly the leaves before it.",
    "task-unknown": "A round works on a task that is not agreed.",
    "plan-violated": "A round is not the next one of the agreed plan.",
    "rounds-exceeded": "There are more rounds than agreed.",
    "model-chain-broken": "A round starts from another model than the one before it left.",
    "invited-invalid": "Those invited are not parties in order, each once.",
    "invited-too-few": "Fewer parties were invited than have to take part.",
    "clip-norm-refused": "The clip norm of a round is not one that the agreement allows.",
    "terms-altered": "Noise, clip norm or sampling rate of a round are not the agreed ones.",
    "outputs-altered": "A round opens something else than agreed.",
    "epsilon-altered": "The stated epsilon is not what the rounds so far cost.",
}
_COMMIT: Final = {
    "commit-uninvited": "A party that was not invited took part.",
    "commit-duplicate": "A party committed twice in one round.",
    "commit-out-of-order": "The commits of a round are not in the order of the parties.",
    "commit-other-intent": "A party answered another intent than the one on record.",
    "commit-other-terms": "A party used other noise, clip norm or sampling than the round's.",
    "commit-other-model": "A party trained on another model than the round's.",
    "commit-other-length": "A party committed to a vector of another length than agreed.",
    "commit-other-roster": "A roster is another than the rest of its round saw, or none is due.",
    "commit-missing": "A party is said to be in a sum, and its commit is not on record.",
}
_END: Final = {
    "confirmation-without-commit": "A party confirmed a round in which it has no commit.",
    "confirmation-duplicate": "A party confirmed twice in one round.",
    "confirmation-out-of-order": "The confirmations are not in the order of the parties.",
    "confirmation-other-set": "A party confirmed another set of survivors than the recorded one.",
    "quorum-missing": "Too few survivors confirmed who is in the sum.",
    "survivors-invalid": "Survivors and dropouts are not invited parties in order, each once.",
    "survivors-too-few": "Fewer parties are in a sum than the agreement demands.",
    "survivor-missing": "A party committed and is not counted in the sum.",
    "sharers-too-few": "Survivors and dropouts together are fewer than a round needs to begin.",
    "sharers-altered": "Survivors and dropouts are not the parties that the commits name.",
    "noise-meter-invalid": "A noise meter is missing, or stands where no noise is agreed.",
    "end-too-early": "The run is said to be complete, and a task is not over.",
    "end-invalid": "The record of a completed run says that it failed.",
}
_CHECKPOINT: Final = {
    "checkpoint-unreadable": "A checkpoint is no signed note, or not the one way to write it.",
    "checkpoint-another-log": "A checkpoint is one of another ledger.",
    "checkpoint-unsigned": "A checkpoint is not signed by the coordinator.",
    "checkpoint-foreign-signature": "A checkpoint bears a signature of somebody unknown.",
    "checkpoint-duplicate-signature": "One party signed a checkpoint twice.",
    "checkpoint-size": "A checkpoint does not cover exactly the leaves before it.",
    "checkpoint-root": "A checkpoint was signed over other leaves than those before it.",
    "checkpoint-time": "A party says that it signed a checkpoint at an absurd time.",
    "witnesses-too-few": "Fewer parties than a quorum witnessed a checkpoint.",
    "inclusion-proof-invalid": "A proof does not show that a leaf is in the ledger.",
    "consistency-proof-invalid": "A proof does not show that one head continues another.",
    "checkpoint-unwitnessed": "Too few parties cosigned a checkpoint, so that no round can begin.",
    "head-without-leaves": "The coordinator sent a head without the leaves that belong to it.",
}
_AUDIT: Final = {
    "head-invalid": "A head from outside is not one that the coordinator signed of this ledger.",
    "rolled-back": "The coordinator signed a longer ledger before: leaves were taken away.",
    "split-view": "The coordinator signed two ledgers that contradict each other.",
    "split-view-unproven": "The file does not prove that the coordinator signed two ledgers.",
    "budget-exceeded": "The rounds cost more than the agreed budget.",
}
_WARNINGS: Final = {
    "not-anchored": "Nothing from outside says that this is the agreement that was meant.",
    "not-closed": "The run was not declared complete: later rounds may exist.",
    "tail-unwitnessed": "The last leaves are covered by no checkpoint.",
    "round-aborted": "A round ended without a sum; it is charged all the same.",
    "late-commit": "A commit was recorded after its round: it was late, or had been left out.",
    "late-commit-elsewhere": "A late commit names another roster than the round's own.",
    "software-differs": "The parties computed with different software.",
    "witness-clock": "A party's times of signing run backwards.",
    "noise-too-little": "A sum held less noise than the parties promised.",
    "noise-too-much": "A sum held more noise than the parties promised.",
}

FAILURES: Final[Mapping[str, str]] = MappingProxyType(
    {**_FILE, **_LEAF, **_INTENT, **_COMMIT, **_END, **_CHECKPOINT, **_AUDIT}
)
"""What makes a ledger fail: name and one sentence."""
WARNINGS: Final[Mapping[str, str]] = MappingProxyType(_WARNINGS)
"""What an auditor has to look at although the record is sound: name and one sentence."""
FINDINGS: Final[Mapping[str, str]] = MappingProxyType({**FAILURES, **WARNINGS})
"""All of them."""
