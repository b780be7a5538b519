from __future__ import annotations

import json
import os
from typing import Any

import pytest

from sampan.spec.dockerfile.words import Lexer, WordError

_DATA = os.path.join(os.path.dirname(__file__), "data", "words.jsonl")
with open(_DATA, encoding="utf-8") as file:
    CASES = [json.loads(line) for line in file]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_word_expands_as_docker_expands_it(case: dict[str, Any]) -> None:
    variables = dict(pair.split("=", 1) for pair in case["env"])
    lexer = Lexer(
        escape=case["escape"], raw_quotes=case.get("RawQuotes", False), skip_unset=case.get("SkipUnsetEnv", False)
    )
    if "error" in case:
        with pytest.raises(WordError) as caught:
            lexer.expand(case["word"], variables)
        assert str(caught.value) == case["error"]
        return
    result = lexer.expand(case["word"], variables)
    if "expect" in case:
        assert result.text == case["expect"]
        assert result.matched == set(case.get("matched", ()))
        assert result.unmatched == set(case.get("unmatched", ()))
    else:
        assert result.words == case["expect_words"]
