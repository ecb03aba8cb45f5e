"""The name guard: our sibling packages have short names that another file could take."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def check_house() -> None:
    """Check that ``protocols`` and ``parties`` are ours: beside this package and of one version.

    Raises:
        ImportError: another file or distribution shadows one of them; the text names it.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("protocols", "parties"):
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin != home / name / "__init__.py":
            raise ImportError(
                f"securefed needs its own package {name!r} in {home}, but Python finds "
                f"{origin or 'nothing'}; rename or uninstall that one"
            )
    import parties  # noqa: PLC0415
    from protocols.version import __version__ as ours  # noqa: PLC0415 - only after the check

    if parties.__version__ != ours:
        raise ImportError(
            f"parties is version {parties.__version__}, protocols is {ours}; reinstall securefed"
        )
