"""Running a parsed template on a value."""

from __future__ import annotations

from sampan.cli.template import functions, values
from sampan.cli.template.errors import TemplateError
from sampan.cli.template.nodes import Action, Branch, Call, Jump, Operand, Pipeline, Text
from sampan.cli.template.values import NO_VALUE, text_of, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.template.nodes import Node

_MAX_DEPTH = 1000
_MISSING = object()


class _Jumped(Exception):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Evaluator:
    """One execution. Variables live in a stack of scopes, `$` is the value that the template was given."""

    def __init__(self, named: dict[str, list[Node]], *, headers: bool = False) -> None:
        self._named = named
        self._headers = headers
        self._scopes: list[dict[str, Any]] = []
        self._out: list[str] = []

    def run(self, nodes: list[Node], value: Any) -> str:
        self._scopes = [{"$": value}]
        self._walk(nodes, value)
        return "".join(self._out)

    def _walk(self, nodes: list[Node], dot: Any) -> None:
        self._scopes.append({})
        for node in nodes:
            if isinstance(node, Text):
                self._out.append(node.text)
            elif isinstance(node, Action):
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.declared:
                    self._out.append(text_of(value))
            elif isinstance(node, Branch):
                self._branch(node, dot)
            elif isinstance(node, Call):
                self._call(node, dot)
            elif isinstance(node, Jump):
                raise _Jumped(node.kind)
        self._scopes.pop()

    def _call(self, node: Call, dot: Any) -> None:
        if node.name not in self._named:
            raise TemplateError(f':1: template "{node.name}" not defined')
        value = self._pipeline(node.pipeline, dot) if node.pipeline else None
        if len(self._scopes) > _MAX_DEPTH:
            raise TemplateError(":1: exceeded maximum template depth")
        outer, self._scopes = self._scopes, [{"$": value}] * (len(self._scopes) // 100 + 1)
        self._walk(self._named[node.name], value)
        self._scopes = outer

    def _branch(self, node: Branch, dot: Any) -> None:
        depth = len(self._scopes)
        self._scopes.append({})
        if node.kind == "range":
            self._range(node, dot)
        else:
            value = self._pipeline(node.pipeline, dot)
            if truth(value):
                self._walk(node.body, value if node.kind == "with" else dot)
            else:
                self._walk(node.otherwise, dot)
        del self._scopes[depth:]

    def _range(self, node: Branch, dot: Any) -> None:
        pairs = self._items(self._evaluate(node.pipeline, dot))
        if not pairs:
            self._walk(node.otherwise, dot)
            return
        depth = len(self._scopes)
        for key, item in pairs:
            declared = node.pipeline.declared
            if len(declared) == 1:
                self._declare(node.pipeline, declared[0], item)
            elif declared:
                self._declare(node.pipeline, declared[0], key)
                self._declare(node.pipeline, declared[1], item)
            try:
                self._walk(node.body, item)
            except _Jumped as jumped:
                del self._scopes[depth:]
                if jumped.kind == "break":
                    return

    def _items(self, value: Any) -> list[tuple[Any, Any]]:
        value = values.plain(value)
        if value is None:
            return []
        if isinstance(value, dict):
            return sorted(value.items())
        if isinstance(value, list):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return [(number, number) for number in range(value)]
        raise TemplateError(f":1: range can't iterate over {text_of(value)}")

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value = self._evaluate(pipeline, dot)
        for name in pipeline.declared:
            self._declare(pipeline, name, value)
        return value

    def _declare(self, pipeline: Pipeline, name: str, value: Any) -> None:
        if not pipeline.assigns:
            self._scopes[-1][name] = value
            return
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = value
                return
        raise TemplateError(f':1: undefined variable "{name}"', parsing=True)

    def _evaluate(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = _MISSING
        for command in pipeline.commands:
            value = self._command(command, dot, value, pipeline.source)
        return value

    def _command(self, command: list[Operand], dot: Any, last: Any, source: str) -> Any:
        head, rest = command[0], command[1:]
        final = [] if last is _MISSING else [last]
        if head.kind == "name":
            name = str(head.value)
            if name in functions.LAZY:
                value = self._logic(name, rest, final, dot, source)
            else:
                arguments = [self._operand(operand, dot, source) for operand in rest] + final
                value = functions.call(name, arguments, headers=self._headers)
            return self._chain(value, head.chain, [], source)
        arguments = [self._operand(operand, dot, source) for operand in rest] + final
        if not arguments:
            return self._operand(head, dot, source)
        if head.kind == "field":
            return self._chain(dot, [str(head.value), *head.chain], arguments, source)
        if head.kind == "variable" and head.chain:
            return self._chain(self._variable(str(head.value)), head.chain, arguments, source)
        raise TemplateError(f':1:2: executing "" at <{source}>: can\'t give argument to non-function {source}')

    def _logic(self, name: str, rest: list[Operand], final: list[Any], dot: Any, source: str) -> Any:
        value: Any = None
        for operand in rest:
            value = self._operand(operand, dot, source)
            if truth(value) == (name == "or"):
                return value
        return final[0] if final else value

    def _operand(self, operand: Operand, dot: Any, source: str) -> Any:
        kind = operand.kind
        if kind == "field":
            return self._chain(dot, [str(operand.value), *operand.chain], [], source)
        value: Any
        if kind == "dot":
            value = dot
        elif kind == "variable":
            value = self._variable(str(operand.value))
        elif kind == "pipeline":
            assert isinstance(operand.value, Pipeline)
            value = self._pipeline(operand.value, dot)
        elif kind == "name":
            value = functions.call(str(operand.value), [], headers=self._headers)
        else:
            value = operand.value
        return self._chain(value, operand.chain, [], source)

    def _variable(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise TemplateError(f':1: undefined variable "{name}"', parsing=True)

    def _chain(self, value: Any, fields: list[str], arguments: list[Any], source: str) -> Any:
        for position, name in enumerate(fields):
            given = arguments if position == len(fields) - 1 else []
            if value is NO_VALUE or value is None:
                raise TemplateError(f':1:2: executing "" at <{source}>: nil pointer evaluating interface {{}}.{name}')
            if hasattr(value, "go_field"):
                try:
                    value = value.go_field(name, given)
                except KeyError:
                    raise TemplateError(
                        f':1:2: executing "" at <.{name}>: can\'t evaluate field {name} in this kind of object'
                    ) from None
            elif isinstance(value, dict):
                if name not in value and not values.is_struct(value):
                    value = NO_VALUE
                    continue
                name = name if name in value else _spelled(value, name)
                if name not in value:
                    raise TemplateError(f':1:2: executing "" at <{source}>: map has no entry for key "{name}"')
                value = value[name]
            else:
                raise TemplateError(
                    f':1:2: executing "" at <{source}>: can\'t evaluate field {name} in type {values.type_name(value)}'
                )
        return value


def _spelled(struct: dict[str, Any], name: str) -> str:
    """Go's `ID` and `APIVersion` are `Id` and `ApiVersion` in JSON."""
    wanted = name.lower()
    return next((known for known in struct if known.lower() == wanted), name)
