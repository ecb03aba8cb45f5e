"""Where a message is put together: small ones in memory, large ones in a file without a name."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

from protocols.errors import TransportError

MEMORY_BYTES: Final = 4 * 2**20
"""What one peer may make us hold in memory; anything larger goes to a file."""


class Assembly:
    """One incoming message of known length, appended in order.

    Nothing is allocated from the announced length: memory and file grow with the bytes that came.
    The file is unlinked from the start (mode 0600, gone with the process) and handed out as a
    read-only memory map once every byte of it is written, so that reading it cannot fault.
    """

    def __init__(self, total: int, *, in_memory: bool, spool: Path) -> None:
        """Args: length in bytes; whether it may stay in memory; directory for large bodies.

        Raises:
            TransportError: the spool cannot be written.
        """
        self.total, self.held = total, 0
        self._spool = spool
        self._whole: memoryview | None = None
        self._memory = bytearray()
        self._file: int | None = None
        if not in_memory:
            try:
                # A duplicate of the descriptor outlives the wrapper object that tempfile makes.
                with tempfile.TemporaryFile(dir=spool) as file:
                    self._file = os.dup(file.fileno())
            except OSError as error:
                raise self._failure(error) from error

    def append(self, payload: memoryview) -> None:
        """Add the next bytes.

        Raises:
            TransportError: the spool is full or gone; nothing of ``payload`` counts as held.
        """
        if self._file is not None:
            try:
                _write_all(self._file, payload, self.held)
            except OSError as error:
                raise self._failure(error) from error
        elif self.held == 0 and len(payload) == self.total:
            self._whole = payload  # the frame itself is the message: no copy
        else:
            self._memory += payload
        self.held += len(payload)

    def finish(self) -> memoryview:
        """Hand out the whole message, read-only, and let go of the file.

        Raises:
            TransportError: the spool file cannot be mapped.
        """
        if self._whole is not None:
            return self._whole.toreadonly()
        if self._file is None:
            return memoryview(self._memory).toreadonly()
        try:
            return memoryview(mmap.mmap(self._file, self.total, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise self._failure(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Free the file of a message that will not be finished."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _failure(self, error: Exception) -> TransportError:
        return TransportError(
            f"cannot keep an incoming message of {self.total} bytes in {self._spool}: {error}; "
            "free space there or choose another spool directory"
        )


def _write_all(file: int, payload: memoryview, offset: int) -> None:
    done = 0
    while done < len(payload):
        done += os.pwrite(file, payload[done:], offset + done)
