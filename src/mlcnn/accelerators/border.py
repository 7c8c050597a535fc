"""Users' YAML files: read, checked, and every mistake named with its line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mlcnn.errors import InputError, did_you_mean

__all__ = ["Description", "Document", "is_file", "read_description", "read_yaml", "unknown"]


class Document(BaseModel):
    """A part of a YAML file: no keys but its fields, no conversions of text to numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Model = TypeVar("_Model", bound=Document)
_MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Description:
    """A YAML file as it was read, to be checked by whoever knows its keys.

    Attributes:
        what: what to call it in messages.
        path: the file.
        values: its keys and values, as built-in types.
        lines: the line of each key, by the keys on the way to it.
    """

    what: str
    path: Path
    values: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]

    @property
    def where(self) -> str:
        """What it is and its path."""
        return f"{self.what} {self.path}"

    def read(self, model: type[_Model]) -> _Model:
        """The values as a ``Document``.

        Args:
            model: what the file holds.

        Raises:
            InputError: it does not; the message names file, line and key.
        """
        try:
            return model.model_validate(dict(self.values))
        except ValidationError as error:
            raise InputError(_message(self, model, error)) from error

    def without(self, key: str) -> "Description":
        """The same without one of the keys."""
        return replace(self, values={k: v for k, v in self.values.items() if k != key})

    def line(self, place: Sequence[int | str]) -> int:
        """Line of the innermost key of ``place`` that the file has; 1 for none."""
        keys = tuple(str(key) for key in place)
        ends = range(len(keys), 0, -1)
        return next((self.lines[keys[:end]] for end in ends if keys[:end] in self.lines), 1)


def read_description(path: Path, what: str, keys: Sequence[str] = ()) -> Description:
    """Read one YAML file.

    Args:
        path: the file.
        what: what to call it in messages.
        keys: keys that such a file may have, for the message on one that has none.

    Raises:
        InputError: the file cannot be read, or is no table of keys.
    """
    tree = _parse(path, what)
    if not isinstance(tree, CommentedMap):
        one_of = f", one of {', '.join(keys)} a line," if keys else ", one a line,"
        raise InputError(
            f"{what} {path}: it must be a table of keys{one_of} and it is {type(tree).__name__}"
        )
    return Description(what, path, _plain(tree), dict(_lines(tree)))


def read_yaml(path: Path, model: type[_Model], what: str) -> _Model:
    """Read and check one YAML file.

    Args:
        path: the file.
        model: what it holds.
        what: what to call it in messages.

    Raises:
        InputError: the file cannot be read, is no YAML, or does not fit ``model``.
    """
    return read_description(path, what, tuple(model.model_fields)).read(model)


def is_file(name: str | Path) -> bool:
    """Whether a name is the path of a file to read, not that of something built in."""
    return str(name).endswith((".yaml", ".yml"))


def unknown(what: str, name: str | Path, known: Sequence[str]) -> InputError:
    """The error for a name that nothing built in has.

    Args:
        what: what was asked for.
        name: as it was given.
        known: names that there are.
    """
    hint = did_you_mean(str(name), known, ", ", ".")
    return InputError(
        f"unknown {what} {str(name)!r}{hint} Known: {', '.join(known)}; or give the path of a "
        ".yaml file"
    )


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


def _lines(
    tree: CommentedMap, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], int]]:
    """The line of every key that stands in the file itself, not in what it merges."""
    for key in tree.lc.data or ():
        place = (*above, str(key))
        yield place, tree.lc.key(key)[0] + 1
        if isinstance(value := tree.get(key), CommentedMap):
            yield from _lines(value, place)


def _known(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Keys that are allowed beside the last of ``place``."""
    current: Any = model
    named = False
    for key in place[:-1]:
        if named:  # the name of an entry of a table, which may be any
            named = False
            continue
        fields = getattr(current, "model_fields", {})
        found = next((f for name, f in fields.items() if key in {name, f.alias}), None)
        if found is None:
            return []
        # ``X | None`` has its model among its arguments, and so has ``dict[str, X]``.
        options = (found.annotation, *get_args(found.annotation))
        named = get_origin(found.annotation) is dict
        current = next((o for o in options if hasattr(o, "model_fields")), None)
    fields = {} if named else getattr(current, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _message(found: Description, model: type[BaseModel], error: ValidationError) -> str:
    # An unknown key explains a missing one, so it comes first.
    mistakes = sorted(
        error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden"
    )
    first = mistakes[0]
    place = first["loc"]
    key = ".".join(str(part) for part in place)
    start = f"{found.where}:{found.line(place)}: "
    if first["type"] == "extra_forbidden":
        known = _known(model, place)
        hint = did_you_mean(str(place[-1]), known, otherwise=f"; known keys: {', '.join(known)}")
        return f"{start}unknown key {key!r}{hint}"
    if first["type"] == "missing":
        return f"{start}key {key!r} is missing"
    reason = first["msg"][0].lower() + first["msg"][1:]
    return f"{start}{key} is {first['input']!r}: {reason}"
