"""One SQLite file in WAL mode holds all metadata of an engine.

Each module of this room owns a few tables: it declares `MIGRATIONS`, a list of SQL scripts that are applied once each, in
order, under the module's own name, and a class of queries that takes the `Database`. A statement outside `transaction()`
commits by itself.

Calls are synchronous: with WAL and `synchronous=NORMAL` a commit is a write into the page cache (tens of microseconds),
which is cheaper than a hop to a thread. A crash of the process loses nothing; a power cut may lose the newest commits but
never tears one (https://www.sqlite.org/wal.html).

Room for the write-ahead log and some growth is reserved while there is any: on a full disk containers still end, stop and
are removed, which is the way out of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sampan.errors import SampanError
from sampan.linux.allocate import allocate

_GROWTH_BYTES = 1 << 20
# SQLite begins the log anew after a checkpoint, which it makes at 1000 pages of 4 KiB; the last transaction may exceed that.
_LOG_BYTES = 6 << 20


class Database:
    """An open database. Not thread-safe: it belongs to the event loop's thread."""

    def __init__(self, path: str) -> None:
        """Open or create the file at `path`; `":memory:"` gives a private one.

        Raises:
            SampanError: it is no database, or damaged, or cannot be written.
        """
        self._path = path
        self._depth = 0
        if path != ":memory:":
            _reserve(path, _GROWTH_BYTES, os.O_CREAT)  # before SQLite opens it: closing it drops SQLite's locks
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
            self._connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version (owner TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
        except sqlite3.Error as error:
            raise SampanError(
                f"cannot open the database {path}: {error}",
                hint="restore it from a backup, or move it away to begin with an empty engine; nothing was changed",
            ) from error
        _reserve(f"{path}-wal", _LOG_BYTES)

    def migrate(self, owner: str, migrations: Sequence[str]) -> None:
        """Apply those of `owner`'s scripts that this file has not seen; each script and its mark commit together.

        Raises:
            SampanError: the file was written by a newer version of Sampan.
        """
        row = self.one("SELECT version FROM schema_version WHERE owner = ?", (owner,))
        version = row["version"] if row else 0
        if version > len(migrations):
            raise SampanError(
                f"the database {self._path} was written by a newer Sampan: its {owner} tables are of version {version}, "
                f"this engine knows {len(migrations)}",
                hint="start the newer version again, or use another --data-root; nothing was changed",
            )
        for number, script in enumerate(migrations[version:], start=version + 1):
            with self.transaction():
                for statement in filter(str.strip, script.split(";")):
                    self._connection.execute(statement)
                self.execute("INSERT OR REPLACE INTO schema_version (owner, version) VALUES (?, ?)", (owner, number))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements of the block together, or none; nests (the outermost decides)."""
        self._depth += 1
        if self._depth == 1:
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            self._connection.execute("COMMIT")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; gives the number of rows it changed.

        Raises:
            SampanError: the disk is full.
        """
        try:
            return self._connection.execute(sql, parameters).rowcount
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise SampanError(f"write {self._path}: no space left on device") from error
            raise

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row, or None."""
        row: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows."""
        return self._connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Checkpoint and close."""
        self._connection.close()


def _reserve(path: str, size_bytes: int, flags: int = 0) -> None:
    """Blocks for the next `size_bytes` of the file, if the file system has and can; its length stays."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError:
        return  # SQLite will say what is wrong
    try:
        allocate(descriptor, os.fstat(descriptor).st_size, size_bytes)
    except OSError:
        pass  # no room now: as it would be without
    finally:
        os.close(descriptor)
