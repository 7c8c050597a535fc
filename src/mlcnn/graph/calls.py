"""Calls as text, ``name(size=18)``: what is called, and literal arguments; nothing is evaluated."""

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlcnn.errors import InputError, did_you_mean
from mlcnn.graph.wording import quote

__all__ = ["Call", "parse_call", "require_arguments"]

_LITERAL = "a number, text in quotes, True, False, None, or a list, tuple or dict of such"
_UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class Call:
    """What to call, and with what.

    Attributes:
        name: what stands in front of the parenthesis.
        arguments: by position.
        keywords: by name.
    """

    name: str
    arguments: tuple[object, ...] = ()
    keywords: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def is_bare(self) -> bool:
        """Whether there are no arguments."""
        return not self.arguments and not self.keywords


def parse_call(text: str) -> Call:
    """A call from text.

    Args:
        text: ``name``, or ``name(arguments)`` as in Python, all of them literals.

    Raises:
        InputError: the arguments are no Python, or no literals.

    Example:
        >>> parse_call("shop.nets:build(18, width=0.5)")
        Call(name='shop.nets:build', arguments=(18,), keywords={'width': 0.5})
    """
    name, parenthesis, _ = text.partition("(")
    if not parenthesis:
        return Call(text)
    try:
        tree = ast.parse(f"call{text[len(name) :]}", mode="eval").body
    except _UNPARSABLE as error:
        reason = error.msg if isinstance(error, SyntaxError) else quote(error)
        raise InputError(
            f"{text}: the arguments cannot be read ({reason}); write them as in Python, as "
            f"{name}(size=18)"
        ) from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise InputError(f"{text}: one pair of parentheses ends it, as in {name}(size=18)")
    arguments = tuple(_literal(text, item) for item in tree.args)
    keywords: dict[str, object] = {}
    for item in tree.keywords:
        if item.arg is None:
            raise InputError(f"{text}: ** is not taken; give each argument by its name")
        if item.arg in keywords:
            raise InputError(f"{text}: the argument {item.arg!r} is given twice; give it once")
        keywords[item.arg] = _literal(text, item.value)
    return Call(name, arguments, keywords)


def _literal(text: str, node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (*_UNPARSABLE, TypeError):
        raise InputError(
            f"{text}: {ast.unparse(node)} is no literal; an argument is {_LITERAL}"
        ) from None


def require_arguments(text: str, call: Call, function: Callable[..., object]) -> None:
    """Refuse arguments that a function does not take.

    Args:
        text: what messages begin with.
        call: the arguments.
        function: what is called with them; one without a signature is not checked.

    Raises:
        InputError: the message has the arguments that there are, and the nearest name.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return
    try:
        signature.bind(*call.arguments, **call.keywords)
    except TypeError as error:
        wrong = next((name for name in call.keywords if name not in signature.parameters), "")
        near = did_you_mean(wrong, signature.parameters, ", ") if wrong else ""
        name = call.name.rpartition(":")[2]
        raise InputError(f"{text}: {error}{near}; it is {name}{signature}") from None
