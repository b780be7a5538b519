"""Rows of images and of the names that lead to them."""

from __future__ import annotations

import msgspec

from sampan.store.database import Database

MIGRATIONS = [
    """
    CREATE TABLE images (
        id TEXT PRIMARY KEY,
        config BLOB NOT NULL,
        manifest_digest TEXT,
        manifest BLOB,
        parent TEXT NOT NULL DEFAULT '',
        size_bytes INTEGER NOT NULL,
        tagged_at_ns INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE image_references (
        name TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
    );
    CREATE INDEX image_references_image ON image_references (image_id)
    """,
]


class ImageRow(msgspec.Struct, frozen=True):
    """`id` is the digest of `config`; `tagged_at_ns` (Unix time) when a name was last given to it, 0 if never."""

    id: str
    config: bytes
    manifest_digest: str | None
    manifest: bytes | None
    parent: str
    size_bytes: int
    tagged_at_ns: int = 0


class ImageRows:
    """Queries; names are canonical references (`docker.io/library/busybox:latest`, `…@sha256:…`)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("images", MIGRATIONS)

    def all(self) -> list[ImageRow]:
        rows = self._database.all(
            "SELECT id, config, manifest_digest, manifest, parent, size_bytes, tagged_at_ns FROM images ORDER BY rowid"
        )
        return [ImageRow(*row) for row in rows]

    def references(self) -> list[tuple[str, str]]:
        """(name, image id) of every name, oldest first."""
        return [
            (row["name"], row["image_id"])
            for row in self._database.all("SELECT * FROM image_references ORDER BY rowid")
        ]

    def add(self, row: ImageRow) -> None:
        """Insert, or replace what is known of the image's manifest."""
        self._database.execute(
            "INSERT INTO images (id, config, manifest_digest, manifest, parent, size_bytes, tagged_at_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET manifest_digest = excluded.manifest_digest,"
            " manifest = excluded.manifest, parent = excluded.parent",
            (row.id, row.config, row.manifest_digest, row.manifest, row.parent, row.size_bytes, row.tagged_at_ns),
        )

    def name(self, name: str, image_id: str, now_ns: int) -> None:
        """Let `name` lead to `image_id`, away from where it led before."""
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO image_references (name, image_id) VALUES (?, ?)", (name, image_id)
            )
            self._database.execute("UPDATE images SET tagged_at_ns = ? WHERE id = ?", (now_ns, image_id))

    def unname(self, name: str) -> None:
        self._database.execute("DELETE FROM image_references WHERE name = ?", (name,))

    def remove(self, image_id: str) -> None:
        """Remove the image and all of its names."""
        self._database.execute("DELETE FROM images WHERE id = ?", (image_id,))
        self._database.execute("UPDATE images SET parent = '' WHERE parent = ?", (image_id,))
