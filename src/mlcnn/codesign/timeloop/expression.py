"""Numbers that files write as expressions: ``1024*64*8``, with names of other numbers."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from mlcnn.errors import InputError, did_you_mean

__all__ = ["Number", "evaluate", "evaluate_smooth"]

Number = int | float

_MAX_LENGTH = 200
_MAX_EXPONENT = 64
_MAX_BASE = 2**16
_MAX_VALUE = 2.0**63
_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SMOOTH: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    **_BINARY,
    ast.FloorDiv: operator.truediv,
    ast.Pow: operator.pow,
}
_WHAT = "an expression is numbers and known names with + - * / // % ** and brackets"


def evaluate(text: str, names: Mapping[str, Number]) -> Number:
    """The value of an expression.

    Args:
        text: of it.
        names: values that it may name.

    Raises:
        InputError: it is anything but arithmetic, or a value on the way is too large.

    Example:
        >>> evaluate("1024*banks // 3", {"banks": 64})
        21845
    """
    if len(text) > _MAX_LENGTH:
        raise InputError(f"an expression of {len(text)} characters; at most {_MAX_LENGTH} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"{text!r} is no expression; {_WHAT}") from error
    return _value(tree.body, text, names)


def _value(node: ast.expr, text: str, names: Mapping[str, Number]) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _bounded(value, text)
        case ast.Name(id=name):
            if name not in names:
                raise InputError(f"unknown name {name!r} in {text!r}{did_you_mean(name, names)}")
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, text, names)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, text, names)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _value(left, text, names), _value(right, text, names), text)
        case _:
            raise InputError(f"{ast.unparse(node)!r} in {text!r}: {_WHAT}")


def evaluate_smooth(text: str, names: Mapping[str, Any]) -> Any:
    """The value of an expression over anything with arithmetic, as tensors with gradients.

    Args:
        text: of an expression that ``evaluate`` takes.
        names: values that it may name. Quotients are not rounded (``//`` is ``/``), so that the
            value changes smoothly with them.

    Raises:
        InputError: it is anything but arithmetic.
    """

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return value(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _SMOOTH:
                return _SMOOTH[type(op)](value(left), value(right))
            case _:
                return _value(node, text, {})

    return value(ast.parse(text.strip(), mode="eval").body)


def _binary(op: ast.operator, left: Number, right: Number, text: str) -> Number:
    try:
        if isinstance(op, ast.Pow):
            return _bounded(_power(left, right, text), text)
        if type(op) not in _BINARY:
            raise InputError(f"{text!r}: {_WHAT}")
        return _bounded(_BINARY[type(op)](left, right), text)
    except (ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{text!r} cannot be computed: {error}") from error


def _power(base: Number, exponent: Number, text: str) -> Number:
    """A power of bounded parts: what is computed at all stays small."""
    if abs(exponent) > _MAX_EXPONENT or abs(base) > _MAX_BASE:
        raise InputError(
            f"{text!r}: the power {base} ** {exponent} is not computed; bases are at most "
            f"{_MAX_BASE} and exponents at most {_MAX_EXPONENT}"
        )
    result = base**exponent
    if isinstance(result, complex):
        raise InputError(f"{text!r}: {base} ** {exponent} is no real number")
    return result


def _bounded(value: Number, text: str) -> Number:
    if not math.isfinite(value) or abs(value) > _MAX_VALUE:
        raise InputError(f"{text!r}: a value is beyond {_MAX_VALUE:.3g}")
    return value
