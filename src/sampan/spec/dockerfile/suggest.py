"""`(did you mean X?)`: the nearest of the words that would have been right."""

from __future__ import annotations

from collections.abc import Iterable

_TOO_FAR = 3


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """` (did you mean X?)` for the option nearest to `word`, or nothing if none is near."""
    best, best_distance = "", _TOO_FAR
    for option in options:
        distance = edit_distance(word.lower(), option.lower())
        if distance == 0:
            return ""
        if distance < best_distance:
            best, best_distance = option, distance
    return f" (did you mean {best}?)" if best else ""


def edit_distance(left: str, right: str) -> int:
    """How many single letters must change, appear or go to make `left` into `right` (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, char in enumerate(left, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (char != other))
    return row[-1]
