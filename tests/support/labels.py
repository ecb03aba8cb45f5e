"""Domain-separation labels: byte strings in the source that begin with the project's name."""

from __future__ import annotations

import ast
from pathlib import Path

PREFIX = b"securefed "


def label_literals(package: Path) -> list[bytes]:
    """Every such literal below a folder, once for each time it is written; a last zero is cut."""
    return [
        node.value.rstrip(b"\0\n")
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, bytes)
        and node.value.startswith(PREFIX)
    ]
