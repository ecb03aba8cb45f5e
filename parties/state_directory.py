"""A node's state directory: private, held by one process at a time, noticed when it vanishes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from protocols.errors import JournalError

_LOCK: Final = "lock"
_MARK: Final = b"securefed state v1\n"
_BLOBS: Final = "blobs"


class StateDirectory:
    """Opens a directory for exclusive use; ``close`` or the end of the process lets go of it.

    The lock file also remembers that state was once written here, so that a journal that was
    deleted or emptied is an error and never a fresh start: a fresh start would forget promises.
    """

    def __init__(self, path: Path) -> None:
        """Create the directory (mode 0700) or open it, and lock it.

        Raises:
            JournalError: open to other users, held by another process, or not writable.
        """
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = path.stat().st_mode
            if not stat.S_ISDIR(mode) or mode & 0o077:
                raise JournalError(
                    f"{path} must be a directory that only its owner can open; run chmod 700 {path}"
                )
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(path, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise JournalError(
                f"{path} is in use by another process; two nodes must not share one state directory"
            ) from error
        self._files = {path / _LOCK: _identity(os.fstat(self._lock))}

    @property
    def used(self) -> bool:
        """Whether a journal was written here before."""
        return os.pread(self._lock, len(_MARK), 0) == _MARK

    def mark_used(self) -> None:
        """Record durably that a journal exists here.

        Raises:
            JournalError: it cannot be written.
        """
        try:
            os.pwrite(self._lock, _MARK, 0)
            os.fsync(self._lock)
            _sync_directory(self.path)
        except OSError as error:
            raise unusable(self.path, error) from error

    def watch(self, file: Path) -> None:
        """Add a file to those that :meth:`check` looks for."""
        try:
            self._files[file] = _identity(file.stat())
        except OSError as error:
            raise unusable(self.path, error) from error

    def check(self) -> None:
        """Check that the files we hold open are still the ones that a restart would find.

        Raises:
            JournalError: one was deleted, replaced or unmounted.
        """
        for file, identity in self._files.items():
            try:
                found = _identity(file.stat())
            except OSError as error:
                raise unusable(self.path, error) from error
            if found != identity:
                raise JournalError(
                    f"{file} was replaced while this node runs; stop it, put the old file back, "
                    "and start it again"
                )

    def put_blob(self, data: bytes | memoryview) -> bytes:
        """Store bytes under their SHA-256, whole or not at all, and return it.

        Raises:
            JournalError: they cannot be written.
        """
        digest = hashlib.sha256(data).digest()
        target = self._blob_path(digest)
        if target.exists():
            return digest
        partial = target.with_suffix(".partial")
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(target)
            _sync_directory(target.parent)
        except OSError as error:
            raise unusable(self.path, error) from error
        return digest

    def blob(self, digest: bytes) -> bytes | None:
        """Return the bytes with this SHA-256, or None if there are none.

        Raises:
            JournalError: the file is damaged or cannot be read.
        """
        try:
            data = self._blob_path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unusable(self.path, error) from error
        if hashlib.sha256(data).digest() != digest:
            raise JournalError(
                f"{self._blob_path(digest)} is damaged; delete it, it can be made again"
            )
        return data

    def keep_blobs(self, digests: Collection[bytes]) -> None:
        """Delete every blob but these, and what a crash left half written."""
        wanted = {digest.hex() for digest in digests}
        try:
            for file in (self.path / _BLOBS).glob("*"):
                if file.name not in wanted:
                    file.unlink()
        except OSError as error:
            raise unusable(self.path, error) from error

    def close(self) -> None:
        """Let another process have the directory."""
        if self._files:
            self._files = {}
            os.close(self._lock)

    def _blob_path(self, digest: bytes) -> Path:
        return self.path / _BLOBS / digest.hex()


def unusable(path: Path, error: Exception | str) -> JournalError:
    """Return the error that says what to do about a directory that cannot be used."""
    return JournalError(
        f"the state in {path} cannot be written or read ({error}); nothing was sent. Free space, "
        "check permissions and the disk, then start again with the same directory"
    )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
