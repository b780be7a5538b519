"""Progress messages and files that grow under their reader."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from sampan.images.growing import Abandoned, GrowingFile
from sampan.images.progress import Progress, draw_bar


async def test_bars_are_replaced_and_plain_messages_are_not() -> None:
    progress = Progress()
    progress.status("Pulling from x", "latest")
    for number in range(1000):
        progress.bar("Downloading", "abc", number, 1000)
        progress._last_s.clear()
    progress.step("Download complete", "abc")
    progress.bar("Extracting", "abc", 5, 10)
    progress.end()
    messages = [message async for message in progress.messages()]
    assert [m["status"] for m in messages] == ["Pulling from x", "Download complete", "Extracting"]
    assert messages[0] == {"status": "Pulling from x", "id": "latest"}
    assert messages[1] == {"status": "Download complete", "progressDetail": {}, "id": "abc"}
    assert messages[2]["progressDetail"] == {"current": 5, "total": 10}


async def test_bars_come_at_most_ten_times_a_second() -> None:
    progress = Progress()
    progress.bar("Downloading", "abc", 1, 10)
    assert progress._waiting.pop("abc")["progressDetail"]["current"] == 1
    progress.bar("Downloading", "abc", 2, 10)
    assert "abc" not in progress._waiting


@pytest.mark.parametrize(
    ("current", "total", "expected"),
    [
        (0, 100, "[>" + " " * 50 + "]       0B/100B"),
        (50, 100, "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"),
        (1064364, 1064364, "[" + "=" * 50 + ">]  1.064MB/1.064MB"),
        (1500, 0, "   1.5kB"),
        (0, 0, ""),
    ],
)
def test_bars_look_like_dockers(current: int, total: int, expected: str) -> None:
    assert draw_bar(current, total) == expected


def test_a_reader_follows_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    content = bytes(range(256)) * 4096
    with path.open("wb", buffering=0) as file:
        reader = GrowingFile(str(path), len(content))

        def write() -> None:
            for start in range(0, len(content), 100_000):
                file.write(content[start : start + 100_000])
                reader.advance(min(start + 100_000, len(content)))
                time.sleep(0.001)

        writer = threading.Thread(target=write)
        writer.start()
        found = b""
        while data := reader.read(70_001):
            found += data
        writer.join()
    assert found == content and reader.position == len(content)
    reader.close()


def test_an_abandoned_reader_is_woken(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"half")
    reader = GrowingFile(str(path), 8, 4)
    assert reader.read() == b"half"
    threading.Timer(0.02, reader.abandon).start()
    with pytest.raises(Abandoned):
        reader.read()
    reader.close()
