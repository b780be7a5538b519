"""Expansion of one Dockerfile word: quotes, escapes and `$variables`.

The language is a part of the POSIX shell's (https://docs.docker.com/reference/dockerfile/#environment-replacement):

    $name ${name} ${name:-word} ${name-word} ${name:+word} ${name+word} ${name:?word} ${name?word}
    ${name#pattern} ${name##pattern} ${name%pattern} ${name%%pattern} ${name/pattern/text} ${name//pattern/text}

A pattern knows `*`, `?` and the escape. There is no command substitution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from sampan.errors import InvalidArgument
from sampan.types.quoting import go_quote

_SPECIAL_PARAMETERS = "@*#?-$!0"
_END = "\ufffd"  # what Docker's messages show where a word ends too early


class WordError(InvalidArgument):
    """A word that cannot be expanded; the message names the word and the fault."""


class Expansion(NamedTuple):
    """`text` is the word expanded as one, `words` the same split at unquoted white space.

    `matched` and `unmatched` are the variables that the word asked for and that were set or not.
    """

    text: str
    words: list[str]
    matched: set[str]
    unmatched: set[str]


class Lexer(NamedTuple):
    """How words are read.

    `raw_quotes` keeps the quote characters, `raw_escapes` the escape characters, `skip_unset` leaves references to
    unset variables as they are; `skip_quotes` gives quotes no meaning (the body of a heredoc).
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    skip_unset: bool = False
    skip_quotes: bool = False

    def expand(self, word: str, variables: Mapping[str, str]) -> Expansion:
        """Expand `word`; raises `WordError`."""
        scanner = _Scanner(self, word, variables)
        try:
            text, words = scanner.until(None, self.raw_escapes)
        except ValueError as error:
            raise WordError(f"failed to process {go_quote(word)}: {error}") from None
        return Expansion(text, words, scanner.matched, scanner.unmatched)

    def text(self, word: str, variables: Mapping[str, str]) -> str:
        """The expansion of `word` as one string."""
        return self.expand(word, variables).text

    def words(self, word: str, variables: Mapping[str, str]) -> list[str]:
        """The expansion of `word`, split at white space that is not quoted."""
        return self.expand(word, variables).words


class _Words:
    """Collects characters into words; only characters that are neither quoted nor escaped separate."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.buffer: list[str] = []
        self.in_word = False

    def add(self, text: str) -> None:
        for char in text:
            if not char.isspace():
                self.add_raw(char)
            elif self.in_word:
                self.finish()

    def add_raw(self, text: str) -> None:
        self.buffer.append(text)
        self.in_word = True

    def finish(self) -> None:
        if self.in_word:
            self.done.append("".join(self.buffer))
            self.buffer = []
            self.in_word = False


class _Scanner:
    """One pass over one word. Faults are `ValueError`s with the bare reason."""

    def __init__(self, lexer: Lexer, word: str, variables: Mapping[str, str]) -> None:
        self.lexer = lexer
        self.word = word
        self.position = 0
        self.variables = variables
        self.raw_escapes = lexer.raw_escapes
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()

    def peek(self) -> str:
        return self.word[self.position : self.position + 1]

    def next(self) -> str:
        char = self.word[self.position : self.position + 1]
        self.position += 1
        return char

    def at_end(self) -> bool:
        return self.position >= len(self.word)

    def look_up(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value

    def until(self, stop: str | None, raw_escapes: bool) -> tuple[str, list[str]]:
        """Read up to `stop` (consumed) or the end."""
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        try:
            return self._until(stop)
        finally:
            self.raw_escapes = before

    def _until(self, stop: str | None) -> tuple[str, list[str]]:
        result: list[str] = []
        words = _Words()
        while not self.at_end():
            char = self.peek()
            if char == stop:
                self.next()
                words.finish()
                return "".join(result), words.done
            if char == "$":
                text = self.dollar()
                result.append(text)
                words.add(text)
            elif char in "'\"" and not self.lexer.skip_quotes:
                text = self.single_quoted() if char == "'" else self.double_quoted()
                result.append(text)
                words.add_raw(text)
            else:
                self._plain(result, words)
        if stop is not None:
            raise ValueError(f"unexpected end of statement while looking for matching {stop}")
        words.finish()
        return "".join(result), words.done

    def _plain(self, result: list[str], words: _Words) -> None:
        char = self.next()
        if char != self.lexer.escape:
            words.add(char)
            result.append(char)
            return
        if self.raw_escapes:
            words.add_raw(char)
            result.append(char)
        if self.at_end():
            return
        char = self.next()
        words.add_raw(char)
        result.append(char)

    def single_quoted(self) -> str:
        start = self.position
        end = self.word.find("'", start + 1)
        if end < 0:
            self.position = len(self.word)
            raise ValueError("unexpected end of statement while looking for matching single-quote")
        self.position = end + 1
        return self.word[start : end + 1] if self.lexer.raw_quotes else self.word[start + 1 : end]

    def double_quoted(self) -> str:
        result: list[str] = []
        quote = self.next() if self.lexer.raw_quotes else (self.next() and "")
        result.append(quote)
        while not self.at_end():
            char = self.peek()
            if char == "$":
                result.append(self.dollar())
                continue
            self.next()
            if char == '"':
                result.append(quote)
                return "".join(result)
            if char == self.lexer.escape:
                if self.raw_escapes:
                    result.append(char)
                if self.at_end():
                    continue
                if self.peek() in ('"', "$", self.lexer.escape):
                    char = self.next()
                elif self.raw_escapes:
                    continue
            result.append(char)
        raise ValueError("unexpected end of statement while looking for matching double-quote")

    def dollar(self) -> str:
        self.next()
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.look_up(name)
            if value is None:
                return "$" + name if self.lexer.skip_unset else ""
            return value
        self.next()
        if self.at_end():
            raise ValueError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise ValueError("syntax error: bad substitution")
        return self.braced(self.name())

    def braced(self, name: str) -> str:
        modifier = self.next() or _END
        if modifier == "}":
            value = self.look_up(name)
            if value is None:
                return f"${{{name}}}" if self.lexer.skip_unset else ""
            return value
        if modifier == "/":
            return self.replace(name)
        null_is_unset = modifier == ":"
        shown = modifier
        if null_is_unset:
            modifier = self.next() or _END
            shown += modifier
        if null_is_unset or modifier in "+-?#%":
            return self.modified(name, modifier, shown, null_is_unset)
        raise ValueError(f"unsupported modifier ({shown}) in substitution")

    def operand(self, stop: str, raw_escapes: bool, missing: str) -> str:
        try:
            return self.until(stop, raw_escapes)[0]
        except ValueError as error:
            raise ValueError(missing if self.at_end() else str(error)) from None

    def modified(self, name: str, modifier: str, shown: str, null_is_unset: bool) -> str:
        word = self.operand("}", modifier in ("#", "%"), "syntax error: missing '}'")
        value = self.look_up(name)
        unset = value is None or (null_is_unset and value == "")
        if value is None and self.lexer.skip_unset and modifier in ("-", "+", "#", "%"):
            return f"${{{name}{shown}{word}}}"
        if modifier == "-":
            return word if unset else value or ""
        if modifier == "+":
            return "" if unset else word
        if modifier == "?":
            if unset:
                fault = "unset" if value is None else "empty"
                raise ValueError(f"{name}: {word or f'is not allowed to be {fault}'}")
            return value or ""
        if modifier in ("#", "%"):
            longest = word.startswith(modifier)
            return _trim(value or "", word[longest:], longest=longest, suffix=modifier == "%", escape=self.lexer.escape)
        raise ValueError(f"unsupported modifier ({shown}) in substitution")

    def replace(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.next()
        pattern = self.operand("/", True, "syntax error: missing '/' in ${}")
        text = self.operand("}", True, "syntax error: missing '}'")
        value = self.look_up(name)
        if value is None and self.lexer.skip_unset:
            return f"${{{name}{'//' if everywhere else '/'}{pattern}/{text}}}"
        expression = re.compile(_pattern(pattern, longest=True, escape=self.lexer.escape), re.DOTALL)
        return expression.sub(lambda _: text, value or "", count=0 if everywhere else 1)

    def name(self) -> str:
        """A name, a positional number or a special parameter; empty if there is none."""
        start = self.position
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self.position += 1
        else:
            while (char := self.peek()) and (char == "_" or char.isalnum()):
                self.position += 1
        return self.word[start : self.position]


def _pattern(pattern: str, *, longest: bool, escape: str) -> str:
    out: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            out.append(".*" if longest else ".*?")
        elif char == "?":
            out.append(".")
        elif char in ("\\", escape):
            if position >= len(pattern):
                raise ValueError(f"invalid pattern ({pattern}) in substitution: invalid escape")
            out.append(re.escape(pattern[position]))
            position += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _trim(value: str, pattern: str, *, longest: bool, suffix: bool, escape: str) -> str:
    if not suffix:
        match = re.match(_pattern(pattern, longest=longest, escape=escape), value, re.DOTALL)
        return value[match.end() :] if match else value
    expression = re.compile(_pattern(pattern, longest=True, escape=escape), re.DOTALL)
    starts = range(len(value) + 1) if longest else range(len(value), -1, -1)
    for start in starts:
        if expression.fullmatch(value, start):
            return value[:start]
    return value
