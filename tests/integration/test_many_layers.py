"""Images as deep as Docker allows."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import EngineProcess

_LAYERS = 125


def test_an_image_of_125_layers(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    steps = [f"COPY file /layers/{number}" for number in range(1, _LAYERS)]
    (tmp_path / "Dockerfile").write_text("\n".join(["FROM busybox", *steps, ""]))
    built = engine.sampan("build", "-q", "-t", "deep", str(tmp_path))
    assert built.returncode == 0, built.stderr
    script = "ls /layers | wc -l; rm /layers/1 && echo y > /layers/124 && ls /layers | wc -l && cat /layers/124"
    done = engine.sampan("run", "--name", "deep", "deep", "sh", "-c", script)
    assert (done.returncode, done.stdout.split()) == (0, ["124", "123", "y"]), done.stderr
    diff = engine.sampan("diff", "deep").stdout.split("\n")
    assert "D /layers/1" in diff and "C /layers/124" in diff
    copied = engine.sampan("cp", "deep:/layers/77", str(tmp_path / "copy"))
    assert copied.returncode == 0 and (tmp_path / "copy").read_text() == "x"
    (tmp_path / "Dockerfile").write_text("FROM deep\nRUN touch /one-more\n")
    refused = engine.sampan("build", "-q", str(tmp_path))
    assert refused.returncode != 0 and "max depth exceeded" in refused.stderr
    committed = engine.sampan("commit", "deep", "deeper")
    assert committed.returncode != 0 and "max depth exceeded" in committed.stderr
