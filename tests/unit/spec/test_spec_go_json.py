"""JSON into the types that Go's decoder would give it."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.errors import InvalidArgument
from sampan.spec.go_json import BOOL, INT, STR, WORDS, conform, parse

SHAPE = {
    "Name": STR,
    "Size": INT,
    "On": BOOL,
    "Cmd": WORDS,
    "Env": [STR],
    "Labels": {"*": STR},
    "In": {"Ports": [{"P": INT}]},
}


def test_names_match_in_any_case_and_unknown_ones_are_dropped() -> None:
    value = {"name": "a", "IN": {"ports": [{"p": 1}]}, "Other": 1}
    assert conform(value, SHAPE, "T") == {"Name": "a", "In": {"Ports": [{"P": 1}]}}


def test_null_is_absent_in_a_struct_and_zero_in_a_list() -> None:
    value = {"Name": None, "Env": [None, "x"], "Labels": {"a": None}, "In": {"Ports": [None]}}
    assert conform(value, SHAPE, "T") == {"Env": ["", "x"], "Labels": {"a": ""}, "In": {"Ports": [{}]}}


def test_words_may_be_one_string() -> None:
    assert conform({"Cmd": "ls -l"}, SHAPE, "T") == {"Cmd": ["ls -l"]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Name": 1}, "cannot unmarshal number into Go struct field T.Name of type string"),
        ({"On": 1}, "cannot unmarshal number into Go struct field T.On of type bool"),
        ({"Size": True}, "cannot unmarshal bool into Go struct field T.Size of type int64"),
        ({"Size": 1.5}, "cannot unmarshal number into Go struct field T.Size of type int64"),
        ({"Size": 1 << 63}, "cannot unmarshal number 9223372036854775808 into Go struct field T.Size of type int64"),
        ({"Env": "x"}, "cannot unmarshal string into Go struct field T.Env of type []string"),
        ({"Labels": {"a": []}}, "cannot unmarshal array into Go struct field T.Labels of type string"),
        ({"in": {"ports": [{"p": "x"}]}}, "cannot unmarshal string into Go struct field T.In.Ports.P of type int64"),
        ([], "cannot unmarshal array into Go value of type T"),
    ],
)
def test_wrong_types_are_named_as_go_names_them(value: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"json: {message}".replace("[", r"\[")):
        conform(value, SHAPE, "T")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'"\xff"', b"NaN", b"{", b"1 2", b'"\\ud800"'])
def test_what_is_no_json_is_an_error_of_ours(text: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)
