"""Columns as Go's text/tabwriter makes them (the algorithm is in its documentation: elastic tabstops).

A cell ends with a tab. A column is a run of neighbouring lines that all have a cell there; its width is that of its widest
cell plus padding, at least the least width. Text after the last tab of a line belongs to no column.
"""

from __future__ import annotations

LEAST_WIDTH = 10
PADDING = 3


def align(text: str, least_width: int = LEAST_WIDTH, padding: int = PADDING) -> str:
    """`text` with its tabs replaced by blanks."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[0] * (len(cells) - 1) for cells in lines]
    _measure(lines, widths, 0, len(lines), 0, least_width, padding)
    out = []
    for cells, sizes in zip(lines, widths, strict=True):
        out.append("".join(cell.ljust(size) for cell, size in zip(cells[:-1], sizes, strict=True)) + cells[-1])
    return "\n".join(out)


def _measure(
    lines: list[list[str]], widths: list[list[int]], start: int, end: int, column: int, least: int, padding: int
) -> None:
    row = start
    while row < end:
        if len(lines[row]) - 1 <= column:
            row += 1
            continue
        stop = row
        width = least
        while stop < end and len(lines[stop]) - 1 > column:
            width = max(width, len(lines[stop][column]) + padding)
            stop += 1
        for index in range(row, stop):
            widths[index][column] = width
        _measure(lines, widths, row, stop, column + 1, least, padding)
        row = stop
