"""Text and actions of a template, and the tokens inside an action."""

from __future__ import annotations

from sampan.cli.template.errors import TemplateError

Token = tuple[str, str]
"""(kind, text); kinds: field variable name string char number ( ) | , = := space end"""

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_BLANK = " \t\r\n"


def split(text: str) -> list[tuple[str, str]]:
    """("text", …) and ("action", …) in turn; trim markers and comments are dealt with here."""
    found: list[tuple[str, str]] = []
    position = 0
    trim_next = False
    while True:
        start = text.find("{{", position)
        plain = text[position:] if start < 0 else text[position:start]
        if trim_next:
            plain = plain.lstrip(_BLANK)
        if start < 0:
            found.append(("text", plain))
            return found
        body_start = start + 2
        if (
            text.startswith("- ", body_start)
            or text.startswith("-\n", body_start)
            or text.startswith("-\t", body_start)
        ):
            plain = plain.rstrip(_BLANK)
            body_start += 1
        found.append(("text", plain))
        stripped = text[body_start:].lstrip(_BLANK)
        if stripped.startswith("/*"):
            close = text.find("*/", body_start)
            if close < 0:
                raise TemplateError(":1: unclosed comment", parsing=True)
            end = _close(text, close + 2)
            action = ""
        else:
            end = _close(text, body_start)
            action = text[body_start:end]
        trim_next = len(action) > 1 and action[-1] == "-" and action[-2] in _BLANK
        trim_next = trim_next or (action == "" and text[end - 1] == "-")
        position = end + 2
        if action:
            found.append(("action", action[:-1] if trim_next else action))


def _close(text: str, position: int) -> int:
    """Where the `}}` of an action is, skipping those in strings."""
    quote = ""
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\" and quote != "`":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "\"'`":
            quote = character
        elif text.startswith("}}", position):
            return position
        position += 1
    raise TemplateError(":1: unclosed action", parsing=True)


def tokens(action: str) -> list[Token]:
    """The tokens of one action."""
    found: list[Token] = []
    position = 0
    while position < len(action):
        character = action[position]
        if character in _BLANK:
            end = position
            while end < len(action) and action[end] in _BLANK:
                end += 1
            found.append(("space", " "))
            position = end
        elif character in "\"'`":
            value, position = _string(action, position)
            found.append(("char" if character == "'" else "string", value))
        elif action.startswith(":=", position):
            found.append((":=", ":="))
            position += 2
        elif character in "()|,=":
            found.append((character, character))
            position += 1
        elif character == "." and not action[position + 1 : position + 2].isdigit():
            end = _word_end(action, position + 1)
            found.append(("field", action[position + 1 : end]))
            position = end
        elif character == "$":
            end = _word_end(action, position + 1)
            found.append(("variable", action[position:end]))
            position = end
        elif character.isdigit() or character in "+-.":
            end = _number_end(action, position + 1)
            found.append(("number", action[position:end]))
            position = end
        elif character.isalpha() or character == "_":
            end = _word_end(action, position)
            found.append(("name", action[position:end]))
            position = end
        else:
            raise TemplateError(f":1: unexpected {character!r} in command", parsing=True)
    return found


def _word_end(text: str, position: int) -> int:
    while position < len(text) and (text[position].isalnum() or text[position] == "_"):
        position += 1
    return position


def _number_end(text: str, position: int) -> int:
    while position < len(text):
        is_sign = text[position] in "+-" and text[position - 1] in "eE"
        if not (text[position].isalnum() or text[position] in "._" or is_sign):
            break
        position += 1
    return position


def _string(text: str, position: int) -> tuple[str, int]:
    quote = text[position]
    position += 1
    out = ""
    while position < len(text):
        character = text[position]
        position += 1
        if character == quote:
            return out, position
        if character == "\\" and quote != "`":
            escape = text[position : position + 1]
            position += 1
            if escape in _ESCAPES:
                out += _ESCAPES[escape]
            elif escape in ("x", "u", "U"):
                size = {"x": 2, "u": 4, "U": 8}[escape]
                out += chr(int(text[position : position + size], 16))
                position += size
            else:
                raise TemplateError(":1: invalid syntax in string", parsing=True)
            continue
        out += character
    raise TemplateError(":1: unterminated quoted string", parsing=True)
