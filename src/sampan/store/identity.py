"""Who this engine is: an id that lives as long as its data root."""

from __future__ import annotations

import uuid

from sampan.store.database import Database

MIGRATIONS = ("CREATE TABLE identity (id TEXT NOT NULL)",)


class Identity:
    """`id` is a UUID, made with the database."""

    def __init__(self, database: Database) -> None:
        database.migrate("identity", MIGRATIONS)
        row = database.one("SELECT id FROM identity")
        if row is None:
            self.id = str(uuid.uuid4())
            database.execute("INSERT INTO identity (id) VALUES (?)", (self.id,))
        else:
            self.id = str(row["id"])
