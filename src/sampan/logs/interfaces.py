"""What a log driver promises. `tests/contract/test_log_drivers.py` holds every driver to it.

writer = open_writer({"driver": "local", "path": …, "options": {"max-size": "20m"}})     # in the shim
writer.write(1, b"what one read of the process's stdout gave")
reader = LogReader({"driver": "local", "path": …}, tail=10)                              # in the engine, meanwhile
"""

from __future__ import annotations

from typing import Protocol


class Writer(Protocol):
    """Takes the output of one container, from one process; readers in other processes need no word from it.

    - Lines of one stream come back in order, byte for byte (as far as the format can hold them), whatever pieces they were
      written in; a line without its newline comes back when the log was closed, at the latest.
    - The files never take more than `max-size` times `max-file`; what is dropped is the oldest.
    - What a crash cut short is skipped by readers and gone, or set apart, when the log is opened again; nothing before it
      is lost.
    - A full disk never raises and never blocks: what does not fit is dropped and counted.
    """

    dropped_bytes: int

    def write(self, stream: int, data: bytes) -> None:
        """`stream` is 1 or 2; `data` is not empty."""
        ...

    def close(self) -> None: ...
