"""Networks and endpoints in the database, as JSON documents whose shape the network room knows.

An endpoint's row is the lease of its addresses.
"""

from __future__ import annotations

from sampan.store.database import Database

MIGRATIONS = [
    """
    CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        body BLOB NOT NULL
    );
    CREATE TABLE endpoints (
        id TEXT PRIMARY KEY,
        network_id TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
        container_id TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (network_id, container_id)
    )
    """
]


class NetworkRows:
    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("networks", MIGRATIONS)

    def save_network(self, network_id: str, body: bytes) -> None:
        self._database.execute(
            "INSERT INTO networks (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (network_id, body),
        )

    def delete_network(self, network_id: str) -> None:
        self._database.execute("DELETE FROM networks WHERE id = ?", (network_id,))

    def networks(self) -> list[bytes]:
        return [row["body"] for row in self._database.all("SELECT body FROM networks ORDER BY rowid")]

    def save_endpoint(self, endpoint_id: str, network_id: str, container_id: str, body: bytes) -> None:
        self._database.execute(
            "INSERT INTO endpoints (id, network_id, container_id, body) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (endpoint_id, network_id, container_id, body),
        )

    def delete_endpoint(self, endpoint_id: str) -> None:
        self._database.execute("DELETE FROM endpoints WHERE id = ?", (endpoint_id,))

    def endpoints(self) -> list[bytes]:
        return [row["body"] for row in self._database.all("SELECT body FROM endpoints ORDER BY rowid")]
