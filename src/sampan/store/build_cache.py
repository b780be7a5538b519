"""What the builder knows already: results of steps by key, and when configuration steps were first made.

A result names whole layers stacks, so that one row answers for a step and all before it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from sampan.store.database import Database

MIGRATIONS = [
    """
    CREATE TABLE build_results (
        key TEXT PRIMARY KEY,
        layers BLOB NOT NULL,
        changed INTEGER NOT NULL,
        source TEXT NOT NULL,
        description TEXT NOT NULL,
        parent TEXT NOT NULL,
        created_ns INTEGER NOT NULL,
        used_ns INTEGER NOT NULL,
        uses INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE build_aliases (key TEXT PRIMARY KEY, canonical TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE build_steps (key TEXT PRIMARY KEY, created_ns INTEGER NOT NULL) WITHOUT ROWID
    """,
]


class Entry(NamedTuple):
    """`layers` are (chain id, diff id, size in bytes), lowest first; `changed` says whether the last is this step's own.
    `source` is the digest of what a COPY copied, as histories show it."""

    key: str
    layers: list[tuple[str, str, int]]
    changed: bool
    source: str
    description: str
    parent: str
    created_ns: int
    used_ns: int
    uses: int


_decode = msgspec.json.Decoder(list[tuple[str, str, int]]).decode
_encode = msgspec.json.Encoder().encode


class BuildCache:
    """The three tables. Belongs to the event loop's thread, as the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("build_cache", MIGRATIONS)

    def get(self, key: str) -> Entry | None:
        row = self._database.one("SELECT * FROM build_results WHERE key = ?", (key,))
        if row is None:
            return None
        return Entry(
            key,
            _decode(row["layers"]),
            bool(row["changed"]),
            row["source"],
            row["description"],
            row["parent"],
            row["created_ns"],
            row["used_ns"],
            row["uses"],
        )

    def put(self, entry: Entry) -> None:
        """Record a result; an older one of the same key is replaced."""
        self._database.execute(
            "INSERT OR REPLACE INTO build_results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (entry.key, _encode(entry.layers), int(entry.changed), *entry[3:]),
        )

    def canonical(self, alias: str) -> str | None:
        """The key that a step's content turned out to have, by what it is made of."""
        row = self._database.one("SELECT canonical FROM build_aliases WHERE key = ?", (alias,))
        return row["canonical"] if row else None

    def put_alias(self, alias: str, canonical: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO build_aliases VALUES (?, ?)", (alias, canonical))

    def step_created_ns(self, key: str) -> int | None:
        row = self._database.one("SELECT created_ns FROM build_steps WHERE key = ?", (key,))
        return row["created_ns"] if row else None

    def put_steps(self, steps: Iterable[tuple[str, int]]) -> None:
        """Record when configuration steps were made, and forget none that is recorded."""
        with self._database.transaction():
            for key, created_ns in steps:
                self._database.execute("INSERT OR REPLACE INTO build_steps VALUES (?, ?)", (key, created_ns))

    def touch(self, keys: Iterable[str]) -> None:
        """Count a use of these results."""
        now = time.time_ns()
        with self._database.transaction():
            for key in keys:
                self._database.execute(
                    "UPDATE build_results SET used_ns = ?, uses = uses + 1 WHERE key = ?", (now, key)
                )

    def list(self) -> list[Entry]:
        """All results, the longest unused first."""
        rows = self._database.all("SELECT key FROM build_results ORDER BY used_ns")
        return [entry for row in rows if (entry := self.get(row["key"])) is not None]

    def layers(self) -> set[str]:
        """The chain ids of all layers that a result names."""
        rows = self._database.all("SELECT layers FROM build_results")
        return {layer[0] for row in rows for layer in _decode(row["layers"])}

    def delete(self, key: str) -> None:
        """Forget a result and the aliases that lead to it."""
        with self._database.transaction():
            self._database.execute("DELETE FROM build_results WHERE key = ?", (key,))
            self._database.execute("DELETE FROM build_aliases WHERE canonical = ?", (key,))

    def clear_steps(self) -> None:
        self._database.execute("DELETE FROM build_steps")
