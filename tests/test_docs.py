"""The documentation says what the code does: examples run, names exist, tables agree."""

from __future__ import annotations

import ast
import re
import shlex
import typing
from functools import lru_cache
from pathlib import Path

import pytest
import typer
from support.labels import label_literals

from parties.coordinator import node as coordinator_node
from parties.transport import events
from protocols import rounds
from protocols.agreement import Aggregation, Privacy
from protocols.masking import coordinator_states, messages, party_states
from securefed.cli import app
from securefed.cli.exit_codes import ExitCode
from securefed.resilience import Resilience

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "tests").rglob("*.md"))]
RUN_ELSEWHERE = {DOCS / "tasks.md", DOCS / "private-tasks.md"}
"""Run by tests of their own, which undo what the pages register."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


def rows(page: Path, first_heading: str) -> list[list[str]]:
    """The cells of the tables whose first heading is this."""
    found, inside = [], False
    for line in text_of(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith(f"| {first_heading} |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not set(line) <= set("|- "):
            found.append(cells)
    assert found, f"{title(page)} has no table of {first_heading}"
    return found


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Examples


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p not in RUN_ELSEWHERE and blocks(p, "python")],
    ids=title,
)
def test_the_examples_of_a_page_run_as_they_stand(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, title(page), "exec"), names)  # noqa: S102 - the documentation is the test


def test_the_readme_shows_what_its_example_prints(capsys, monkeypatch, tmp_path):
    noised, exact = blocks(ROOT / "README.md", "python")[:2]
    names: dict[str, object] = {}
    exec(compile(noised, "README.md", "exec"), names)  # noqa: S102 - the documentation is the test
    lines = [line for line in noised.splitlines() if line.strip() and "import" not in line]
    assert len(lines) <= 12
    printed = capsys.readouterr().out.strip()
    # Fresh noise each time: the same words, and numbers that are near.
    number = r"\d+(?:\.\d+)?"
    words = re.escape(re.sub(number, "#", printed)).replace(r"\#", "#").replace("#", number)
    [shown] = re.findall(f"`({words})`", text_of(ROOT / "README.md"))
    told, got = (list(map(float, re.findall(number, text))) for text in (shown, printed))
    assert got == pytest.approx(told, abs=0.03)
    exec(compile(exact, "README.md", "exec"), names)  # noqa: S102 - the documentation is the test
    assert f"`{capsys.readouterr().out.strip()}`" in text_of(ROOT / "README.md")


# References


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(one) for one in re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)}


def links(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_link_and_picture_leads_somewhere(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        paths = (link.partition("#")[0] for link in links(page))
        waiting += [(page.parent / path).resolve() for path in paths if path and ":" not in path]
    assert {title(page) for page in DOCS.rglob("*.md")} <= {title(page) for page in seen}


@lru_cache
def known_tests() -> frozenset[str]:
    return frozenset(
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_test_that_a_page_names_exists(page):
    named = set(re.findall(r"`(test_\w+)`", text_of(page)))
    missing = {
        name for name in named - known_tests() if not (ROOT / "tests" / f"{name}.py").exists()
    }
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_file_that_a_page_names_exists(page):
    tops = "protocols|parties|securefed|tests|docs|benchmarks"
    for name in re.findall(rf"`((?:{tops})/[\w./-]+)`", text_of(page)):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_error_that_a_page_names_exists(page):
    source = text_of(ROOT / "protocols" / "errors.py")
    known = set(re.findall(r"^class (\w+Error)\(", source, flags=re.MULTILINE))
    builtin = {"ModuleNotFoundError", "ImportError"}
    assert set(re.findall(r"`(\w+Error)`", text_of(page))) <= known | builtin


# Commands


def commands(page: Path) -> list[tuple[str, bool]]:
    """Every ``securefed ...`` in a shell block, to be whole, and in running text."""
    found = []
    for block in blocks(page, "sh"):
        lines = block.replace("\\\n", " ").splitlines()
        found += [(line, True) for line in lines if line.startswith("securefed ")]
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    shown = re.findall(r"`(securefed [^`]+)`", prose)
    # Labels of the protocol begin with the same word.
    found += [(text, False) for text in shown if not text.endswith(" v1")]
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=title)
def test_every_command_that_a_page_shows_is_one(page):
    for line, whole in commands(page):
        _, *words = shlex.split(line, comments=True)
        command = typer.main.get_command(app)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        check_words(command, words, line, whole=whole)


def check_words(command, words, line, *, whole):
    options = {name: one for one in command.params for name in one.opts if name.startswith("-")}
    given, arguments, rest = set(), 0, iter(words)
    for word in rest:
        if not word.startswith("-"):
            arguments += 1
            continue
        assert word in options or word == "--help", line
        if word in options:
            given.add(options[word].name)
            if not options[word].is_flag:
                next(rest, None)
    places = [one for one in command.params if not any(o.startswith("-") for o in one.opts)]
    assert arguments <= len(places) or any(one.nargs < 0 for one in places), line
    if whole:
        assert not hasattr(command, "commands"), line
        assert arguments >= sum(one.required for one in places), line
        required = {one.name for one in command.params if one.required} - {o.name for o in places}
        assert required <= given, line


def test_every_make_target_that_a_page_shows_is_one():
    targets = set(re.findall(r"^(\w+):", text_of(ROOT / "Makefile"), flags=re.MULTILINE))
    for page in PAGES:
        shown = "\n".join(blocks(page, "sh")) + "\n".join(
            re.findall(r"`(make \w+)`", text_of(page))
        )
        assert set(re.findall(r"^make (\w+)", shown, flags=re.MULTILINE)) <= targets


# Tables

PAILLIER = ROOT / "protocols" / "paillier"


def test_the_protocol_page_lists_every_label_and_no_other():
    listed = {name for row in rows(DOCS / "protocol.md", "label") for name in code(row[0])}
    assert listed == labels_of(ROOT / "protocols") - labels_of(PAILLIER)


def test_every_label_of_paillier_stands_on_its_pages():
    pages = [text_of(DOCS / name) for name in ("paillier.md", "threshold-paillier.md")]
    shown = {name for page in pages for name in re.findall(r"`(securefed [a-z0-9 ]+)`", page)}
    assert labels_of(PAILLIER) == shown


def labels_of(folder: Path) -> set[str]:
    return {label.decode() for label in label_literals(folder)}


def test_the_wire_format_page_lists_every_step_and_no_other():
    listed = {name for row in rows(DOCS / "wire-format.md", "step") for name in code(row[0])}
    assert listed == {*messages.STEPS, *rounds.STEPS.values()}


def test_the_architecture_page_lists_every_state_event_and_no_other():
    page = DOCS / "architecture.md"
    states = {row[0].strip("`") for row in rows(page, "state")}
    unions = (party_states.State, coordinator_states.State)
    assert states == {one.__name__ for union in unions for one in typing.get_args(union)}
    listed = {name for row in rows(page, "event at a node") for name in code(row[0])}
    assert listed == {one.__name__ for one in typing.get_args(events.ClientEvent)}


def test_the_exit_codes_are_those_of_the_program():
    listed = {(int(row[0]), *code(row[1])) for row in rows(DOCS / "operations.md", "code")}
    assert listed == {(int(one), one.name) for one in ExitCode}


def test_the_table_of_dropouts_is_what_init_chooses():
    for row in rows(DOCS / "operations.md", "parties"):
        n, c, quorum, most, dropouts, threshold, holders = map(int, row)
        # In as many rounds as init plans unless told otherwise.
        chosen = Resilience.for_parties(n, rounds=25, colluders=c)
        drawn = n - 1 if chosen.neighbours == "complete" else chosen.neighbours
        assert ((n + c) // 2 + 1, n - quorum) == (quorum, most)
        assert (chosen.max_dropouts, chosen.threshold, drawn) == (dropouts, threshold, holders)


def test_the_threat_page_has_all_27_threats_and_every_proof_names_a_test():
    table = rows(DOCS / "threat-model.md", "no.")
    assert [row[0] for row in table] == [f"T{number}" for number in range(1, 28)]
    encrypted = rows(DOCS / "threat-model.md", "encrypted")
    assert [row[0] for row in encrypted] == [f"E{number}" for number in range(1, 11)]
    for number, _, _, state, tests in table + encrypted:
        assert state.startswith(("proved", "partly", "not yet", "not applicable")), number
        if state.startswith(("proved", "partly")):
            assert re.search(r"`test_\w+`", tests), number


def test_the_deadlines_of_the_operations_page_are_those_of_the_code():
    said = text_of(DOCS / "operations.md")
    assert "aggregation.deadline_seconds" in said
    assert "deadline_seconds" in Aggregation.model_fields
    assert coordinator_node.MAX_ABORTS_IN_A_ROW == 3
    assert "three in a row end the run" in said


def test_the_missing_privacy_of_people_is_said_where_everybody_looks():
    readme = text_of(ROOT / "README.md")
    head = readme[: readme.index("## Two commands")]
    assert "232 of the 320" in head
    assert "differential privacy" in head
    assert "accept_no_differential_privacy" in Privacy.model_fields
    assert "--accept-no-differential-privacy" in head


def test_the_readme_says_whether_rounds_add_noise():
    nodes = [text_of(path) for path in (ROOT / "parties").rglob("*.py")]
    wired = any("from protocols.privacy" in text for text in nodes)
    for page in (ROOT / "README.md", DOCS / "threat-model.md"):
        says_none = re.search(r"release\s+adds\s+(?:none|no\s+noise)", text_of(page)) is not None
        assert says_none is not wired, f"{title(page)} is out of date about differential privacy"
