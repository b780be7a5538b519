"""Tokens to nodes."""

from __future__ import annotations

from sampan.cli.template import functions
from sampan.cli.template.errors import TemplateError
from sampan.cli.template.lexer import Token, split, tokens
from sampan.cli.template.nodes import Action, Branch, Call, Jump, Operand, Pipeline, Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.template.nodes import Node

_BRANCHES = ("if", "with", "range")


def parse(text: str) -> tuple[list[Node], dict[str, list[Node]]]:
    """(main template, those named by `define` and `block`). Raises TemplateError."""
    parser = _Parser(split(text))
    nodes, ended_by = parser.nodes()
    if ended_by:
        raise TemplateError(f":1: unexpected {{{{{ended_by}}}}}", parsing=True)
    return nodes, parser.named


class _Parser:
    def __init__(self, pieces: list[tuple[str, str]]) -> None:
        self._pieces = pieces
        self._position = 0
        self._loops = 0
        self.named: dict[str, list[Node]] = {}

    def nodes(self) -> tuple[list[Node], str]:
        """Nodes up to {{end}} or {{else …}}, and that action's text ("" at the end of the template)."""
        found: list[Node] = []
        while self._position < len(self._pieces):
            kind, text = self._pieces[self._position]
            self._position += 1
            if kind == "text":
                if text:
                    found.append(Text(text))
                continue
            source = text.strip()
            keyword, _, rest = source.partition(" ")
            if keyword in ("end", "else"):
                return found, source
            node = self._action(keyword, rest.strip(), source)
            if node is not None:
                found.append(node)
        return found, ""

    def _action(self, keyword: str, rest: str, source: str) -> Node | None:
        if keyword in _BRANCHES:
            return self._branch(keyword, rest)
        if keyword in ("break", "continue") and not rest:
            if not self._loops:
                raise TemplateError(f":1: {{{{{keyword}}}}} outside {{{{range}}}}", parsing=True)
            return Jump(keyword)
        if keyword in ("define", "block", "template"):
            return self._named(keyword, rest)
        return Action(pipeline(source))

    def _branch(self, kind: str, rest: str) -> Branch:
        head = pipeline(rest, what=kind)
        self._loops += kind == "range"
        body, ended_by = self.nodes()
        self._loops -= kind == "range"
        otherwise: list[Node] = []
        if ended_by.startswith("else"):
            tail = ended_by[4:].strip()
            word, _, condition = tail.partition(" ")
            if word in ("if", "with"):
                return Branch(kind, head, body, [self._branch(word, condition)])
            if tail:
                raise TemplateError(f":1: unexpected {tail!r} in else", parsing=True)
            otherwise, ended_by = self.nodes()
        if ended_by != "end":
            raise TemplateError(":1: unexpected EOF", parsing=True)
        return Branch(kind, head, body, otherwise)

    def _named(self, keyword: str, rest: str) -> Call | None:
        found = _spaced(tokens(rest))
        if not found or found[0][0] != "string":
            raise TemplateError(f":1: {keyword} wants a name in quotes", parsing=True)
        name = found[0][1]
        value = _pipeline(found[1:], rest) if len(found) > 1 and any(kind != "space" for kind, _ in found[1:]) else None
        if keyword != "template":
            self.named[name], ended_by = self.nodes()
            if ended_by != "end":
                raise TemplateError(":1: unexpected EOF", parsing=True)
        return None if keyword == "define" else Call(name, value)


def pipeline(source: str, what: str = "command") -> Pipeline:
    """One pipeline with its declarations. Raises TemplateError."""
    found = _spaced(tokens(source))
    if not found:
        raise TemplateError(f":1: missing value for {what}", parsing=True)
    return _pipeline(found, source)


def _spaced(found: list[Token]) -> list[Token]:
    while found and found[0][0] == "space":
        found = found[1:]
    while found and found[-1][0] == "space":
        found = found[:-1]
    return found


def _pipeline(found: list[Token], source: str) -> Pipeline:
    declared, assigns, found = _declarations(found)
    commands: list[list[Operand]] = []
    for part in _split(found, "|"):
        words = _command(part)
        if not words:
            raise TemplateError(":1: missing value for command", parsing=True)
        commands.append(words)
    return Pipeline(commands, declared, assigns, source.strip())


def _declarations(found: list[Token]) -> tuple[list[str], bool, list[Token]]:
    plain = [(index, token) for index, token in enumerate(found) if token[0] != "space"]
    for count in (1, 2):
        wanted = ["variable"] if count == 1 else ["variable", ",", "variable"]
        kinds = [token[0] for _, token in plain[: len(wanted) + 1]]
        if kinds[:-1] == wanted and kinds[-1] in (":=", "="):
            names = [token[1] for _, token in plain[: len(wanted)] if token[0] == "variable"]
            return names, kinds[-1] == "=", found[plain[len(wanted)][0] + 1 :]
    return [], False, found


def _split(found: list[Token], separator: str) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in found:
        depth += (token[0] == "(") - (token[0] == ")")
        if token[0] == separator and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    if depth:
        raise TemplateError(":1: unclosed left paren" if depth > 0 else ":1: unexpected right paren", parsing=True)
    return parts


def _command(found: list[Token]) -> list[Operand]:
    words: list[Operand] = []
    position = 0
    after_space = True
    while position < len(found):
        kind, text = found[position]
        position += 1
        if kind == "space":
            after_space = True
            continue
        if kind == "field" and not after_space and words:
            if text:
                words[-1].chain.append(text)
            continue
        if not after_space:
            raise TemplateError(f":1: unexpected <{text}> in operand", parsing=True)
        after_space = False
        if kind == "(":
            depth, start = 1, position
            while depth:
                depth += (found[position][0] == "(") - (found[position][0] == ")")
                position += 1
            words.append(Operand("pipeline", _pipeline(_spaced(found[start : position - 1]), ""), []))
        else:
            words.append(_operand(kind, text))
    return words


def _operand(kind: str, text: str) -> Operand:
    if kind == "field":
        return Operand("field", text, []) if text else Operand("dot", None, [])
    if kind == "name":
        if text in ("true", "false"):
            return Operand("bool", text == "true", [])
        if text == "nil":
            return Operand("nil", None, [])
        if not functions.exists(text):
            raise TemplateError(f':1: function "{text}" not defined', parsing=True)
        return Operand("name", text, [])
    if kind in ("variable", "string"):
        return Operand(kind, text, [])
    if kind == "char":
        return Operand("number", ord(text), [])
    if kind == "number":
        try:
            return Operand("number", int(text.replace("_", ""), 0), [])
        except ValueError:
            pass
        try:
            return Operand("number", float(text), [])
        except ValueError:
            raise TemplateError(f":1: bad number syntax: {text!r}", parsing=True) from None
    raise TemplateError(f":1: unexpected {text!r} in operand", parsing=True)
