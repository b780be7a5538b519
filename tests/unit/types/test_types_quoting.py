from __future__ import annotations

from sampan.types.quoting import go_quote


def test_quotes_as_go_writes_them() -> None:
    assert go_quote('a"b\\c\n') == '"a\\"b\\\\c\\n"'
    assert go_quote("\x01\u200b\U000e0001é") == '"\\x01\\u200b\\U000e0001é"'
