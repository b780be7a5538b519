from __future__ import annotations

import pytest

from sampan.errors import InvalidArgument
from sampan.spec.dockerfile.ignore import Ignore, parse, read

# pattern, path, whether it matches; the table follows Docker's documentation and its pattern matcher.
SINGLE = [
    ("**", "file", True),
    ("**", "dir/file", True),
    ("**/", "file", True),
    ("**/", "dir/file", True),
    ("**/**", "dir/file", True),
    ("dir/**", "dir/file", True),
    ("dir/**", "dir/dir2/file", True),
    ("dir/**", "dir", False),
    ("**/dir", "dir", True),
    ("**/dir", "dir/file", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/*", "dir/dir2/dir2/file", True),
    ("**file", "dir/file", True),
    ("**file", "dir/dir", False),
    ("**/file", "file", True),
    ("**/file", "dir/dir/file", True),
    ("a*", "a", True),
    ("a*", "abc", True),
    ("a*", "ab/c", True),
    ("*/temp*", "somedir/temporary.txt", True),
    ("*/temp*", "temporary.txt", False),
    ("*/*/temp*", "a/b/tempo", True),
    ("temp?", "tempa", True),
    ("temp?", "temp/", False),
    ("a.b", "aXb", False),
    ("a(b", "a(b", True),
    ("a+b", "a+b", True),
    ("$x{y}|z", "$x{y}|z", True),
    (r"a\*b", "a*b", True),
    (r"a\*b", "axb", False),
    ("[a-c]x", "bx", True),
    ("[^a-c]x", "bx", False),
    ("[^a-c]x", "dx", True),
    ("/foo", "foo", True),
    ("./foo/", "foo/bar", True),
    ("foo/../bar", "bar", True),
    ("*.md", "docs/a.md", False),
    (".*", ".git", True),
    (".*", ".git/config", True),
    ("a/b", "a", False),
    ("café", "café", True),
    ("a b", "a b", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), SINGLE)
def test_a_pattern_alone(pattern: str, path: str, expected: bool) -> None:
    assert parse(pattern).matches(path) is expected


LISTS = [
    ("*.md\n!README*.md\nREADME-secret.md", {"a.md": True, "README.md": False, "README-secret.md": True}),
    ("*.md\nREADME-secret.md\n!README*.md", {"README-secret.md": False, "b.md": True}),
    ("docs\n!docs/README.md", {"docs/README.md": False, "docs/x": True, "docs": True}),
    ("*\n!src/**", {"a": True, "src/x/y": False, "src": True}),
    ("# comment\n\n  *.o  ", {"a.o": True, "# comment": False}),
    ("!a", {"a": False, "b": False}),
    ("**/*\n! keep", {"keep": False, "x/y": True}),
]


@pytest.mark.parametrize(("text", "answers"), LISTS)
def test_the_last_word_counts(text: str, answers: dict[str, bool]) -> None:
    ignore = parse(text)
    assert {path: ignore.matches(path) for path in answers} == answers


def test_a_walk_may_skip_an_ignored_directory_only_without_exceptions() -> None:
    assert parse("node_modules").prunes("node_modules")
    assert not parse("node_modules\n!node_modules/a").prunes("node_modules")


@pytest.mark.parametrize("pattern", ["[a", "[", "[z-a]", "!"])
def test_a_bad_pattern_is_named(pattern: str) -> None:
    with pytest.raises(InvalidArgument):
        Ignore([pattern])


def test_reading_cleans() -> None:
    assert read("\ufeff/a/b/\n#x\n  c//d \n!/e\n/") == ["a/b", "c/d", "!e", "/"]
