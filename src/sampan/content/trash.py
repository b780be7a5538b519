"""Directories on their way out: renamed into one place at once, unlinked by a thread in the background."""

from __future__ import annotations

import errno
import os
import threading

from sampan.tar.remove import remove_tree


class Trash:
    """All methods may be called from any thread."""

    def __init__(self, path: str) -> None:
        """`path` is made; what an earlier engine left in it goes with the next `sweep`."""
        self._path = path
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None
        os.makedirs(path, mode=0o711, exist_ok=True)

    def throw(self, directory: str) -> None:
        """Take `directory` away: instantly on the same file system, else file by file. Raises FileNotFoundError."""
        try:
            os.rename(directory, os.path.join(self._path, os.urandom(8).hex()))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            parent = os.open(os.path.dirname(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                remove_tree(parent, os.fsencode(os.path.basename(directory)))
            finally:
                os.close(parent)
        self.sweep()

    def sweep(self) -> None:
        """Start to empty the trash, unless that is under way."""
        with self._lock:
            if self._sweeper is None or not self._sweeper.is_alive():
                self._sweeper = threading.Thread(target=self._empty, name="trash", daemon=True)
                self._sweeper.start()

    def _empty(self) -> None:
        parent = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            while True:
                for name in os.listdir(self._path):
                    self._remove(parent, name)
                with self._lock:  # nothing may be thrown between the last look and the end
                    if not os.listdir(self._path):
                        self._sweeper = None
                        return
        except OSError:
            self._sweeper = None  # an I/O error must not spin; the next sweep tries again
        finally:
            os.close(parent)

    @staticmethod
    def _remove(parent: int, name: str) -> None:
        try:
            remove_tree(parent, os.fsencode(name))
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            os.unlink(name, dir_fd=parent)

    def wait_idle(self) -> None:
        """Wait for the thread."""
        sweeper = self._sweeper
        if sweeper is not None:
            sweeper.join()
