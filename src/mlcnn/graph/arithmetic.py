"""Which text of a symbolic size is safe to evaluate.

A ``.pt2`` file writes sizes as Python expressions, which the loader evaluates.
"""

import ast
import re
from collections.abc import Sequence

__all__ = ["is_arithmetic", "is_symbol"]

_SYMBOL = re.compile(r"[a-z_]+\d{1,6}")
_NUMBER = re.compile(r"-?\d{1,19}(\.\d{1,19})?(e-?\d{1,3})?")
_LENGTH = 2000
_LARGEST_EXPONENT = 16

# fmt: off
_FUNCTIONS = frozenset({
    "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Equality", "Float", "FloatTrueDiv",
    "FloorDiv", "FloorToInt", "Ge", "GreaterThan", "Gt", "Identity", "IntTrueDiv", "Integer", "Le",
    "LessThan", "Lt", "Max", "Min", "Mod", "ModularIndexing", "Mul", "Ne", "Not", "Or", "Pow",
    "PythonMod", "Rational", "RoundToInt", "StrictGreaterThan", "StrictLessThan", "Symbol",
    "ToFloat", "TruncToFloat", "TruncToInt", "Unequality", "Where",
})
# fmt: on
_SYNTAX = (
    ast.Expression,
    ast.keyword,
    ast.Load,
    ast.UnaryOp,
    ast.unaryop,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Compare,
    ast.cmpop,
)


def is_symbol(text: str) -> bool:
    """Whether text is a name that the exporter gives to a size.

    Example:
        >>> is_symbol("s77"), is_symbol("os.system")
        (True, False)
    """
    return _SYMBOL.fullmatch(text) is not None


def is_arithmetic(text: str) -> bool:
    """Whether text is arithmetic on names and numbers, and cheap to evaluate.

    Example:
        >>> is_arithmetic("Mul(Integer(2), Symbol('s0', integer=True))")
        True
        >>> is_arithmetic("__import__('os').getcwd()"), is_arithmetic("9**9**9")
        (False, False)
    """
    if len(text) > _LENGTH:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return _is_safe(tree.body)


def _is_safe(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=function)):
            return function in _FUNCTIONS and _is_safe_call(function, node)
        case ast.Name(id=name):
            return is_symbol(name)
        case ast.Constant(value=value):
            return isinstance(value, int | float) and abs(value) < 2**64
        case _:
            children = ast.iter_child_nodes(node)
            return isinstance(node, _SYNTAX) and all(_is_safe(child) for child in children)


def _is_safe_call(function: str, call: ast.Call) -> bool:
    match function, call.args:
        case "Symbol", [ast.Constant(value=str(name))]:
            arguments: Sequence[ast.AST] = []
            is_bounded = is_symbol(name)
        case (("Integer" | "Float"), [ast.Constant(value=str(number))]):
            arguments = []
            is_bounded = _NUMBER.fullmatch(number) is not None
        case "Pow", [base, exponent]:
            arguments = [base]
            is_bounded = not _has_power(base) and _is_small_exponent(exponent)
        case "Pow", _:
            return False
        case _, arguments:
            is_bounded = True
    return is_bounded and all(_is_safe(item) for item in (*arguments, *call.keywords))


def _has_power(node: ast.AST) -> bool:
    return any(isinstance(item, ast.Name) and item.id == "Pow" for item in ast.walk(node))


def _is_small_exponent(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Integer"), args=[inner], keywords=[]):
            return _is_small_exponent(inner)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _is_small_exponent(inner)
        case ast.Constant(value=int(value)):
            return value <= _LARGEST_EXPONENT
        case _:
            return False
