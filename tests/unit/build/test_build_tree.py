from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sampan.build.content import ContentDigests
from sampan.build.context import apply_ignore
from sampan.build.globs import component, expand
from sampan.build.layer_writer import changed_mode
from sampan.build.sources import select
from sampan.build.tree import LayeredTree
from sampan.errors import InvalidArgument, SampanError


def make(root: Path, files: dict[str, str | None]) -> str:
    """Directories end in a slash, links start with `->`."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif content.startswith("->"):
            path.symlink_to(content[2:])
        else:
            path.write_text(content)
    return str(root)


def names(tree: LayeredTree) -> list[str]:
    assert tree.root is not None
    return [path for path, _ in tree.walk(tree.root)]


def test_layers_merge_and_the_topmost_file_shows(tmp_path: Path) -> None:
    low = make(tmp_path / "low", {"d/a": "low", "d/b": "low", "x": "file"})
    top = make(tmp_path / "top", {"d/a": "top", "x/y": "dir over file"})
    tree = LayeredTree([top, low])
    assert names(tree) == ["d", "d/a", "d/b", "x", "x/y"]
    assert tree.read("/d/a", 99) == b"top"


def test_whiteouts_hide(tmp_path: Path) -> None:
    low = make(tmp_path / "low", {"d/a": "1", "d/b": "2"})
    top = make(tmp_path / "top", {"d/c": "3"})
    try:
        os.mknod(f"{top}/d/a", stat.S_IFCHR | 0o600, 0)
    except PermissionError:
        pytest.skip("this kernel lets only root make whiteouts")
    assert names(LayeredTree([top, low])) == ["d", "d/b", "d/c"]


def test_links_stay_inside(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", {"secret": "s"})
    files = {
        "etc/passwd": "inside",
        "abs": "->/etc/passwd",
        "up": "->../../../etc/passwd",
        "d": "->/etc",
        "out": f"->{outside}",
    }
    tree = LayeredTree([make(tmp_path / "root", dict(files))])
    for path in ("/abs", "/up", "/d/passwd", "/d/../etc/passwd"):
        assert tree.read(path, 99) == b"inside"
    assert tree.resolve("/out/secret").found is None
    assert tree.resolve("/d/new/file").path == "/etc/new/file"
    assert tree.resolve("/abs", follow=False).path == "/abs"


def test_link_loops_end(tmp_path: Path) -> None:
    tree = LayeredTree([make(tmp_path / "r", {"a": "->b", "b": "->a"})])
    with pytest.raises(InvalidArgument, match="too many levels"):
        tree.resolve("/a")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*.go", "a.go", True),
        ("a?c", "abc", True),
        ("[a-c]", "b", True),
        ("[^a-c]", "b", False),
        (r"\*", "*", True),
        ("a[", "a", None),
    ],
)
def test_components(pattern: str, name: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(InvalidArgument):
            component(pattern)
    else:
        assert bool(component(pattern).match(name)) is expected


def context(tmp_path: Path) -> LayeredTree:
    files = {"a.txt": "a", "b.txt": "b", "d/c.txt": "c", "d/e/f.txt": "f", "link": "->a.txt"}
    return LayeredTree([make(tmp_path / "context", dict(files))])


def test_globs_do_not_cross_slashes(tmp_path: Path) -> None:
    assert [path for path, _ in expand(context(tmp_path), "*.txt")] == ["a.txt", "b.txt"]
    assert [path for path, _ in expand(context(tmp_path / "2"), "*/*.txt")] == ["d/c.txt"]


def found(tree: LayeredTree, *patterns: str, parents: bool = False, exclude: tuple[str, ...] = ()) -> list[str]:
    selection = select(
        tree, list(patterns), instruction="COPY", from_context=True, parents=parents, exclude=list(exclude)
    )
    return [name for name, _ in selection.entries()]


def test_sources(tmp_path: Path) -> None:
    tree = context(tmp_path)
    assert found(tree, "a.txt", "/b.txt") == ["a.txt", "b.txt"]
    assert found(tree, "d") == ["/", "d//c.txt", "d//e", "d//e/f.txt"]
    assert found(tree, "*.txt", exclude=("b*",)) == ["a.txt"]
    assert found(tree, "d", exclude=("**/f.txt",)) == ["/", "d//c.txt", "d//e"]
    assert found(tree, "d/e/f.txt", parents=True) == ["d/e/f.txt"]
    assert found(tree, "d/./e/f.txt", parents=True) == ["e/f.txt"]


SOURCE_FAULTS = [
    (
        "nofile",
        "COPY failed: file not found in build context or excluded by .dockerignore: stat nofile: file does not exist",
    ),
    ("no*", "COPY failed: no source files were specified"),
    ("../x", "COPY failed: forbidden path outside the build context: ../x ()"),
]


@pytest.mark.parametrize(("pattern", "message"), SOURCE_FAULTS)
def test_source_faults_have_dockers_words(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(SampanError) as caught:
        found(context(tmp_path), pattern)
    assert str(caught.value) == message


def digest(tree: LayeredTree, pattern: str) -> str:
    selection = select(tree, [pattern], instruction="COPY", from_context=True, parents=False, exclude=[])
    return ContentDigests().of_entries(selection.entries(), with_owner=False)


def test_digests_see_content_names_and_modes_but_not_times(tmp_path: Path) -> None:
    tree = context(tmp_path)
    place = tmp_path / "context" / "d" / "c.txt"
    before = digest(tree, "d")
    os.utime(place, (1, 1))
    assert digest(tree, "d") == before
    place.chmod(0o755)
    changed = digest(tree, "d")
    assert changed != before
    place.write_text("C")
    assert digest(tree, "d") not in (before, changed)
    renamed = digest(tree, "a.txt")
    (tmp_path / "context" / "a.txt").rename(tmp_path / "context" / "z.txt")
    assert digest(tree, "z.txt") != renamed


@pytest.mark.parametrize(
    ("mode", "change", "expected"),
    [
        (stat.S_IFREG | 0o644, "755", 0o755),
        (stat.S_IFREG | 0o644, "u+x,go-r", 0o700),
        (stat.S_IFREG | 0o644, "a=rX", 0o444),
        (stat.S_IFDIR | 0o700, "go=rX", 0o755),
        (stat.S_IFREG | 0o744, "g+X", 0o754),
        (stat.S_IFREG | 0o644, "4755", 0o4755),
    ],
)
def test_chmod(mode: int, change: str, expected: int) -> None:
    assert changed_mode(mode, change) == expected


@pytest.mark.parametrize("change", ["999", "z+x", "u", "u+q", "77777"])
def test_bad_chmod_is_refused(change: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid chmod parameter"):
        changed_mode(stat.S_IFREG | 0o644, change)


def test_dockerignore_prunes_a_context(tmp_path: Path) -> None:
    files = {
        ".dockerignore": "*.log\nbuild\n!build/keep\nempty",
        "a.log": "",
        "a.txt": "",
        "build/x/y": "",
        "build/keep": "",
        "empty/z": "",
        "sub/b.log": "",
    }
    root = make(tmp_path / "context", dict(files))
    apply_ignore(root, "Dockerfile")
    assert names(LayeredTree([root])) == [".dockerignore", "a.txt", "build", "build/keep", "sub", "sub/b.log"]


def test_the_dockerfiles_own_ignore_file_wins(tmp_path: Path) -> None:
    root = make(tmp_path / "context", {".dockerignore": "a", "x.Dockerfile.dockerignore": "b", "a": "", "b": ""})
    apply_ignore(root, "x.Dockerfile")
    assert "a" in names(LayeredTree([root]))
    assert "b" not in names(LayeredTree([root]))
