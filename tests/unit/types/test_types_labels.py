from __future__ import annotations

from sampan.types.labels import labels_match
from sampan.types.quoting import go_quote


def test_all_wanted_labels_and_none_of_the_unwanted() -> None:
    labels = {"tier": "web", "stage": ""}
    assert labels_match(labels, {})
    assert labels_match(labels, {"label": ["tier", "stage="], "label!": ["owner", "tier=db"]})
    assert not labels_match(labels, {"label": ["tier", "owner"]})
    assert not labels_match(labels, {"label!": ["tier=web"]})


def test_quotes_as_go_writes_them() -> None:
    assert go_quote('a"b\\c\n') == '"a\\"b\\\\c\\n"'
    assert go_quote("\x01\u200b\U000e0001é") == '"\\x01\\u200b\\U000e0001é"'
