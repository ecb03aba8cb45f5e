"""``securefed ledger``: copies of the record of a run, to export, read, keep and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from protocols.errors import InputError
from protocols.ledger import split_view
from securefed.audit.archive import import_bundle
from securefed.audit.auditor import Auditor
from securefed.audit.compare import Comparison, compare
from securefed.audit.leaves import LeafFacts, describe, readable_agreement
from securefed.audit.signing import MAX_REPORT_BYTES, check_report
from securefed.audit.sources import last_head, leaves_of, write_bundle
from securefed.cli.audit import AnchorOption
from securefed.cli.exit_codes import ExitCode
from securefed.cli.options import JsonOption
from securefed.cli.output import console, print_json
from securefed.deployment import read_agreement
from securefed.signing import write_text

ledger_app = typer.Typer(
    help="The signed record of a run: export it, read it, keep it, compare copies."
)

SourceArgument = Annotated[
    Path, typer.Argument(help="A bundle, or the state directory of a node.", exists=True)
]
StateArgument = Annotated[
    Path, typer.Argument(help="State directory of a node.", exists=True, file_okay=False)
]
BundleArgument = Annotated[Path, typer.Argument(help="A bundle.", exists=True, dir_okay=False)]
AgreementOption = Annotated[
    Path,
    typer.Option(
        "--agreement",
        help="The agreement, from a source that you trust.",
        exists=True,
        dir_okay=False,
    ),
]


@ledger_app.command("export")
def export(
    state: StateArgument,
    bundle: Annotated[Path, typer.Argument(help="File to write.")],
    json: JsonOption = False,
) -> None:
    """Write a node's copy of the ledger into one file, also while the node runs."""
    count = 0

    def counted() -> Any:
        nonlocal count
        for leaf in leaves_of(state):
            count += 1
            yield leaf

    length = write_bundle(bundle, counted())
    if json:
        print_json({"file": str(bundle), "leaves": count, "bytes": length})
        return
    console().print(f"{bundle}: {count} leaves, {length} bytes", markup=False, soft_wrap=True)


@ledger_app.command("show")
def show(
    source: SourceArgument,
    round_: Annotated[int | None, typer.Option("--round", min=1, help="This round only.")] = None,
    json: JsonOption = False,
) -> None:
    """List the leaves as they say themselves. All of them are verified by securefed audit alone."""
    screen, agreement = console(), None
    for position, data in enumerate(leaves_of(source)):
        leaf = describe(data, position, agreement)
        if not position:
            agreement = readable_agreement(data)
        if round_ is not None and leaf.round != round_:
            continue
        if json:
            print_json(_leaf(leaf))
        else:
            _show_leaf(screen, leaf)


@ledger_app.command("head")
def head(source: SourceArgument) -> None:
    """Print the newest cosigned head: keep it, and give it to securefed audit --head later."""
    typer.echo(last_head(leaves_of(source)), nl=False)


@ledger_app.command("compare")
def compare_copies(
    first: SourceArgument,
    second: SourceArgument,
    agreement: AnchorOption = None,
    proof: Annotated[
        Path | None, typer.Option("--proof", help="Write the proof that two ledgers were signed.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say whether one copy continues the other, or where they part and who signed both."""
    found = compare(first, second, None if agreement is None else read_agreement(agreement))
    if proof is not None and found.proof is not None:
        write_text(proof, found.proof.to_json().decode())
    if json:
        print_json(found.to_plain())
    else:
        _show_comparison(console(), found, proof)
    if found.parting is not None:
        raise typer.Exit(ExitCode.LEDGER)


@ledger_app.command("check-proof")
def check_proof(
    proof: Annotated[Path, typer.Argument(help="File that compare --proof wrote.", exists=True)],
    agreement: AgreementOption,
    json: JsonOption = False,
) -> None:
    """Check a proof that the coordinator signed two ledgers that contradict each other."""
    data = _read(proof, split_view.MAX_PROOF_BYTES)
    finding = split_view.check(data, read_agreement(agreement))
    if json:
        print_json(
            {
                "proven": True,
                "finding": finding.name,
                "party": finding.party,
                "reason": finding.reason,
                "leaf": finding.leaf,
            }
        )
        return
    console().print(f"proven: {finding.reason}", markup=False, soft_wrap=True)


@ledger_app.command("check-report")
def check_signed_report(
    report: Annotated[Path, typer.Argument(help="File that audit --out wrote.", exists=True)],
    agreement: AgreementOption,
    json: JsonOption = False,
) -> None:
    """Check who signed an audit report. It does not audit again: that takes the bundle."""
    signed = check_report(_read(report, MAX_REPORT_BYTES), read_agreement(agreement))
    said = signed.essence
    if json:
        print_json(
            {
                "name": signed.name,
                "role": signed.role,
                "verdict": said.verdict.verdict,
                "anchored": said.verdict.anchored,
                "leaves": said.ledger.leaves,
                "root": said.ledger.root,
                "bundle": said.bundle.sha256,
            }
        )
        return
    anchor = "" if said.verdict.anchored else ", against no agreement but the bundle's own"
    console().print(
        f"signed by {signed.name}, {signed.role} of the agreement, who says: "
        f"{said.verdict.verdict.upper()}{anchor}\n{said.ledger.leaves} leaves, root "
        f"{said.ledger.root}\nbundle with SHA-256 {said.bundle.sha256}",
        markup=False,
        soft_wrap=True,
    )


@ledger_app.command("import")
def import_into(
    bundle: BundleArgument,
    state: Annotated[Path, typer.Argument(help="Directory of the archive.", file_okay=False)],
    agreement: AnchorOption = None,
    json: JsonOption = False,
) -> None:
    """Verify a bundle and keep it in an archive, which only ever grows."""
    found = Auditor(agreement).audit(bundle, processes=None)
    added = import_bundle(bundle, state, found)
    total = found.result.leaves
    if json:
        print_json({"added": added, "leaves": total, "verdict": found.verdict})
        return
    console().print(f"{state}: {added} leaves added, {total} in all", markup=False, soft_wrap=True)


def _read(path: Path, most: int) -> bytes:
    """Read a file, one byte more than allowed at most, so that its reader refuses a longer one."""
    try:
        with path.open("rb") as stream:
            return stream.read(most + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _leaf(leaf: LeafFacts) -> dict[str, Any]:
    return {
        "leaf": leaf.position,
        "kind": leaf.kind,
        "step": leaf.step,
        "round": leaf.round,
        "signers": list(leaf.signers),
        "text": leaf.text,
        "hash": leaf.hash,
        "content": leaf.content,
    }


def _show_leaf(screen: Console, leaf: LeafFacts) -> None:
    where = f"round {leaf.round}" if leaf.round else ""
    who = leaf.signers[0] if leaf.kind == "message" else ""
    line = f"{leaf.position:>7}  {leaf.step or leaf.kind:<11} {where:<11} {who:<16} {leaf.text}"
    style = {"checkpoint": "dim", "unreadable": "red"}.get(leaf.kind, "")
    screen.print(Text(line, style="yellow" if leaf.step == "abort" else style), soft_wrap=True)
    for note in leaf.notes:
        screen.print(Text(f"{'':9}{note}", style="dim"), soft_wrap=True)


def _show_comparison(screen: Console, found: Comparison, proof: Path | None) -> None:
    parting, (one, other) = found.parting, found.sizes
    if parting is None:
        text = {
            "same": f"the same {one} leaves",
            "first-is-shorter": f"the second continues the first: {other - one} leaves more",
            "second-is-shorter": f"the first continues the second: {one - other} leaves more",
        }[found.relation]
        screen.print(text)
        return
    screen.print(Text(f"they differ in leaf {parting.position}:", style="bold red"))
    for place, leaf, who in zip(("first", "second"), parting.leaves, parting.signers, strict=True):
        names = ", ".join(who) or "nobody whose signature holds"
        line = f"{place:<6}  {leaf.step or leaf.kind}: {leaf.text} (signed by {names})"
        screen.print(Text(line), soft_wrap=True)
    if parting.signed_both:
        screen.print(Text(f"both signed by {', '.join(parting.signed_both)}", style="red"))
    if found.deceivers:
        names = ", ".join(found.deceivers)
        screen.print(Text(f"signed a head of each: {names}", style="red"), soft_wrap=True)
    if found.proof is None:
        text = (
            "no two heads by the coordinator cover that leaf, so these files prove nothing to "
            "others; keep both"
        )
    elif proof is None:
        text = "the coordinator signed both ledgers; write the proof with --proof FILE"
    else:
        text = f"the coordinator signed both ledgers; the proof is in {proof}"
    screen.print(Text(text, style="bold"), soft_wrap=True)
