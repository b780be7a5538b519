"""One SQLite file in WAL mode holds all metadata of an engine.

Each module of this room owns a few tables: it declares `MIGRATIONS`, a list of SQL scripts that are applied once each, in
order, under the module's own name, and a class of queries that takes the `Database`. A statement outside `transaction()`
commits by itself.

Calls are synchronous: with WAL and `synchronous=NORMAL` a commit is a write into the page cache (tens of microseconds),
which is cheaper than a hop to a thread. A crash of the process loses nothing; a power cut may lose the newest commits but
never tears one (https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Database:
    """An open database. Not thread-safe: it belongs to the event loop's thread."""

    def __init__(self, path: str) -> None:
        """Open or create the file at `path`; `":memory:"` gives a private one."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
        self._connection.row_factory = sqlite3.Row
        self._depth = 0
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (owner TEXT PRIMARY KEY, version INTEGER NOT NULL)"
        )

    def migrate(self, owner: str, migrations: Sequence[str]) -> None:
        """Apply those of `owner`'s scripts that this file has not seen; each script and its mark commit together.

        Raises:
            RuntimeError: the file was written by a newer version of Sampan.
        """
        row = self.one("SELECT version FROM schema_version WHERE owner = ?", (owner,))
        version = row["version"] if row else 0
        if version > len(migrations):
            raise RuntimeError(
                f"the database's {owner} tables are of version {version}; this engine knows {len(migrations)}"
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
        """Run one statement; gives the number of rows it changed."""
        return self._connection.execute(sql, parameters).rowcount

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
