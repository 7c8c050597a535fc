"""Users' YAML files: read, checked, and every mistake named with its line."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mlcnn.errors import InputError

__all__ = ["Document", "read_yaml"]


class Document(BaseModel):
    """A part of a YAML file: no keys but its fields, no conversions of text to numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Model = TypeVar("_Model", bound=Document)
_MAX_BYTES = 1_000_000


def read_yaml(path: Path, model: type[_Model], what: str) -> _Model:
    """Read and check one YAML file.

    Args:
        path: the file.
        model: what it holds.
        what: what to call it in messages.

    Raises:
        InputError: the file cannot be read, is no YAML, or does not fit ``model``.
    """
    tree = _parse(path, what)
    if not isinstance(tree, CommentedMap):
        raise InputError(
            f"{what} {path}: it must be a table of keys, one of "
            f"{', '.join(model.model_fields)} a line, and it is {type(tree).__name__}"
        )
    try:
        return model.model_validate(_plain(tree))
    except ValidationError as error:
        raise InputError(_message(path, what, model, tree, error)) from error


def _parse(path: Path, what: str) -> object:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{what} {path}: it is larger than {_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        return YAML(typ="rt", pure=True).load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path}: cannot be read ({error})") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise InputError(f"{what} {path}{line}: not valid YAML, {error.problem}") from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{what} {path}: not valid YAML") from error


def _plain(value: Any) -> Any:
    """Ruamel's values as built-in ones, which strict checks need."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _line(tree: CommentedMap, place: Sequence[int | str]) -> int:
    """Line of the innermost key of ``place`` that the file has."""
    node: Any = tree
    line = 1
    for key in place:
        if not isinstance(node, CommentedMap) or key not in node:
            break
        line = node.lc.key(key)[0] + 1
        node = node[key]
    return line


def _known(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Keys that are allowed beside the last of ``place``."""
    current: Any = model
    for key in place[:-1]:
        fields = getattr(current, "model_fields", {})
        found = next((f for name, f in fields.items() if key in {name, f.alias}), None)
        if found is None:
            return []
        # ``X | None`` has its model among its arguments.
        options = (found.annotation, *get_args(found.annotation))
        current = next((o for o in options if hasattr(o, "model_fields")), None)
    fields = getattr(current, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _message(
    path: Path,
    what: str,
    model: type[BaseModel],
    tree: CommentedMap,
    error: ValidationError,
) -> str:
    # An unknown key explains a missing one, so it comes first.
    mistakes = sorted(
        error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden"
    )
    first = mistakes[0]
    place = first["loc"]
    key = ".".join(str(part) for part in place)
    start = f"{what} {path}:{_line(tree, place)}: "
    if first["type"] == "extra_forbidden":
        known = _known(model, place)
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{start}unknown key {key!r}; {hint}"
    if first["type"] == "missing":
        return f"{start}key {key!r} is missing"
    reason = first["msg"][0].lower() + first["msg"][1:]
    return f"{start}{key} is {first['input']!r}: {reason}"
