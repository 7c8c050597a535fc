"""Jinja2 in users' files: a few functions, conditions and values; nothing that loops.

What a template may contain is a list of node types, so a file can neither run code nor keep the
machine busy. Files are read only from the folder of the file that was given, and from those inside.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["MAX_BYTES", "inside", "is_template", "render"]

MAX_BYTES = 4_000_000
"""Of a file, and of what a template makes of it."""

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Call,
    nodes.Filter, nodes.If, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.Assign, nodes.Concat, nodes.CondExpr, nodes.Test,
)  # fmt: skip
_NAMED = ("default", "defined", "undefined")


def is_template(text: str) -> bool:
    """Whether a file has anything for Jinja2 in it."""
    return any(mark in text for mark in ("{{", "{%", "{#"))


def inside(root: Path, folder: Path, name: str, where: str) -> Path:
    """The path of a file that another one names.

    Args:
        root: the folder that files may be read from.
        folder: of the file that names it.
        name: as it is given.
        where: what to put in front of a message.

    Raises:
        InputError: it is outside the folder, or there is none.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(
            f"{where}: {name!r} is outside the folder {root}; files are included from inside it"
        )
    if not path.is_file():
        raise InputError(f"{where}: there is no file {name!r} in {folder}")
    return path


def render(text: str, where: str, functions: dict[str, Callable[..., Any]]) -> str:
    """What a template makes.

    Args:
        text: of the file.
        where: what to put in front of a message.
        functions: that it may call.

    Raises:
        InputError: it is no template, or names what is not there.
        UnsupportedError: it has parts that are not read.
    """
    environment = SandboxedEnvironment(autoescape=False, keep_trailing_newline=True)
    environment.globals.clear()
    try:
        _check(environment.parse(text), where, functions)
        result = environment.from_string(text).render(functions)
    except TemplateSyntaxError as error:
        raise InputError(f"{where}:{error.lineno}: no valid template, {error.message}") from error
    except (TemplateError, SecurityError, TypeError, ValueError) as error:
        raise InputError(f"{where}: the template cannot be filled in, {error}") from error
    if len(result) > MAX_BYTES:
        raise InputError(f"{where}: the template makes more than {MAX_BYTES} bytes")
    return result


def _check(tree: nodes.Template, where: str, functions: dict[str, Callable[..., Any]]) -> None:
    for node in tree.find_all(nodes.Node):
        line = f"{where}:{node.lineno}"
        if not isinstance(node, _ALLOWED):
            raise UnsupportedError(
                f"{line}: templates with {type(node).__name__} are not read; they may have "
                "values, conditions and calls of " + ", ".join(functions)
            )
        if isinstance(node, nodes.Call):
            name = node.node.name if isinstance(node.node, nodes.Name) else "?"
            if name not in functions:
                hint = did_you_mean(name, functions)
                raise InputError(f"{line}: unknown function {name!r} of a template{hint}")
        if isinstance(node, nodes.Filter | nodes.Test) and node.name not in _NAMED:
            raise UnsupportedError(
                f"{line}: {node.name!r} of a template is not read; {', '.join(_NAMED)} are"
            )
