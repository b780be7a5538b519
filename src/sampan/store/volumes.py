"""Volumes in the database, as JSON documents whose shape the volume room knows."""

from __future__ import annotations

from sampan.store.database import Database

MIGRATIONS = ["CREATE TABLE volumes (name TEXT PRIMARY KEY, body BLOB NOT NULL)"]


class VolumeRows:
    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("volumes", MIGRATIONS)

    def save(self, name: str, body: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO volumes (name, body) VALUES (?, ?)", (name, body))

    def delete(self, name: str) -> None:
        self._database.execute("DELETE FROM volumes WHERE name = ?", (name,))

    def all(self) -> list[bytes]:
        return [row["body"] for row in self._database.all("SELECT body FROM volumes ORDER BY rowid")]
