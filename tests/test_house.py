"""The house rules that no linter checks: sizes, docstrings, imports, the name guard, the wheel."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import pytest
from support.labels import label_literals

import parties
import protocols
import securefed

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocols", "parties", "securefed")
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))

MAX_LINES = 300
MAX_LINES_OF_AN_EXCEPTION = 400
LONGER: dict[str, str] = {}
"""Path and reason of every longer module; none at present."""
MAX_FUNCTION_LINES = 60


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def run_python(code: str, cwd: Path, *, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter whose first place to look for modules is ``cwd``."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# Sizes and docstrings


def test_modules_are_short_and_exceptions_are_few_and_named():
    long = {}
    for path in MODULES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            long[relative(path)] = lines
    assert set(long) <= set(LONGER)
    assert all(lines <= MAX_LINES_OF_AN_EXCEPTION for lines in long.values())
    assert set(LONGER) <= set(long), "an exception that is not needed any more"


def test_functions_are_short():
    long = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        # A command's signature declares its options, which is no code to be read in one piece.
        and (node.end_lineno or 0) - node.body[0].lineno >= MAX_FUNCTION_LINES
    ]
    assert not long


def test_every_public_function_and_class_says_what_it_is():
    silent = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_every_module_says_what_it_is():
    assert not [relative(path) for path in MODULES if not ast.get_docstring(tree(path))]


def test_only_the_paillier_package_imports_the_libraries_of_its_extra():
    """phe is under the GPL, so everything else has to work without it."""
    allowed = ROOT / "protocols" / "paillier"
    importing = {
        relative(path)
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [one.name for one in node.names]
        )
        if name.split(".")[0] in {"phe", "gmpy2"} and not path.is_relative_to(allowed)
    }
    assert not importing


def test_what_the_linters_are_told_to_ignore_is_named_and_rare():
    found = [
        line
        for path in MODULES
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"#\s*(noqa|type: ignore)", line)
    ]
    assert not [line for line in found if not re.search(r"noqa: [A-Z]+\d|type: ignore\[", line)]
    assert len(found) <= len(MODULES) / 2


# Labels


def test_no_domain_separation_label_is_written_twice_or_begins_another():
    labels = label_literals(ROOT / "protocols") + label_literals(ROOT / "parties")
    assert len(labels) > 10
    assert len(set(labels)) == len(labels)
    assert not [pair for pair in combinations(sorted(labels), 2) if pair[1].startswith(pair[0])]


# Importing


def test_importing_securefed_loads_nothing_heavy(tmp_path):
    code = "import securefed, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    heavy = {"torch", "sklearn", "grpc", "numpy", "scipy", "pydantic", "cryptography", "typer"}
    assert not loaded & heavy


def test_every_public_name_is_there_and_no_other():
    names = dict(vars(securefed))
    for name in securefed.__all__:
        assert getattr(securefed, name) is not None
        assert name in dir(securefed)
    assert sorted(securefed.__all__) == securefed.__all__
    assert set(securefed._HOME) == set(securefed.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="no attribute 'Simulation'"):
        _ = securefed.Simulation
    assert names["__doc__"]


def test_importing_securefed_first_turns_tls_1_2_off(tmp_path):
    code = (
        "import securefed, grpc, asyncio\n"
        "from parties.transport.tls13 import require_tls13\n"
        "asyncio.run(require_tls13())\n"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["protocols", "parties"])
def test_a_file_that_shadows_a_package_is_named(name, tmp_path):
    intruder = tmp_path / f"{name}.py"
    intruder.write_text("value = 1\n")
    done = run_python("import securefed", tmp_path)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: securefed needs its own package")
    assert str(intruder) in last


@pytest.mark.parametrize("name", ["protocols", "parties"])
def test_a_package_that_is_missing_is_named(name, tmp_path):
    (tmp_path / "securefed").symlink_to(ROOT / "securefed")
    code = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        f"sys.modules[{name!r}] = None\n"
        "import securefed\n"
    )
    done = run_python(code, tmp_path)
    assert done.returncode != 0
    assert name in done.stderr


def test_all_packages_have_one_version():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {protocols.__version__, parties.__version__, securefed.__version__} == {
        declared["version"]
    }
    assert version("securefed") == declared["version"]


# What is in the repository


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, timeout=60
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


KNOWN_HOSTS = {
    "archive.ics.uci.edu",
    "docs.python.org",
    "github.com",
    "json-schema.org",
    "keepachangelog.com",
    "msgpack.org",
    "www.apache.org",
    "www.w3.org",
}


def text_of(path: Path) -> str:
    """Return what a file says; a recorded ledger is bytes, and says nothing of ours."""
    return "" if path.name == "bundle" else path.read_text(encoding="utf-8")


def test_no_file_holds_a_note_to_ourselves_or_a_place_of_ours():
    # Written in two parts, or this file would be found.
    notes = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    places = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/[\w.-]+")
    for path in tracked_files():
        text = text_of(path)
        assert not notes.search(text), relative(path)
        assert not places.search(text), relative(path)


def test_every_source_that_a_file_cites_is_in_the_repository_or_published():
    # Papers are cited by authors and year, our own pages by their path; this one is not here.
    unpublished = re.compile(r"\bDES" r"IGN\b")
    cited = [relative(path) for path in tracked_files() if unpublished.search(text_of(path))]
    assert not cited


def test_every_host_that_a_file_names_is_a_known_one():
    for path in tracked_files():
        text = text_of(path)
        for host in re.findall(r"https?://([\w.-]+)", text):
            known = host in KNOWN_HOSTS or "." not in host or host.endswith((".example", ".test"))
            assert known or host in {"localhost", "127.0.0.1"}, f"{relative(path)}: {host}"


# The wheel


def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {relative(path) for path in MODULES} <= names
    assert {f"{name}/py.typed" for name in PACKAGES} <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == {*PACKAGES, f"securefed-{protocols.__version__}.dist-info"}
