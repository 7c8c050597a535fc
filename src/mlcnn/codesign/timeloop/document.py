"""YAML of Timeloop's files: every value with its line, tags by name, templates filled in."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mlcnn.codesign.timeloop.expression import Number, evaluate
from mlcnn.codesign.timeloop.template import MAX_BYTES, inside, is_template, render
from mlcnn.errors import InputError, did_you_mean

__all__ = ["TAGS", "Node", "read_document"]

TAGS = ("!Component", "!Container", "!Hierarchical", "!Nothing", "!Parallel", "!Pipelined")
_WHAT = "Timeloop file"
_MAX_NODES = 500_000
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a file, and where it stands.

    Attributes:
        value: as the YAML reader gives it.
        path: the file.
        line: in it, from 1; in what its templates make of it, where it has some.
        place: the keys on the way to it.
    """

    value: Any
    path: Path
    line: int
    place: str = ""

    @property
    def where(self) -> str:
        """File and line."""
        return f"{_WHAT} {self.path}:{self.line}"

    @property
    def short(self) -> str:
        """The file's name and the line."""
        return f"{self.path.name}:{self.line}"

    @property
    def tag(self) -> str | None:
        """The tag of a table, as ``!Component``."""
        return _tag(self.value)

    def wrong(self, reason: str) -> InputError:
        """The error that says where it is and what is wrong with it."""
        return InputError(f"{self.where}: {self.place}: {reason}" if self.place else
                          f"{self.where}: {reason}")  # fmt: skip

    def table(
        self, known: Sequence[str] | None = None, *, names: bool = False
    ) -> dict[str, "Node"]:
        """Its keys and values; hyphens in keys as underscores.

        Args:
            known: keys that there may be; None for any.
            names: whether the keys are names, whose hyphens stay.

        Raises:
            InputError: it is no table, or a key is not known.
        """
        if not isinstance(self.value, CommentedMap):
            raise self.wrong(f"it must be a table of keys, got {_shown(self.value)}")
        result: dict[str, Node] = {}
        for key in self.value:
            name = str(key) if names else str(key).replace("-", "_")
            below = f"{self.place}.{name}" if self.place else name
            node = Node(self.value[key], self.path, self._line_of(key), below)
            if known is not None and name not in known:
                hint = did_you_mean(name, known, otherwise=f"; known keys: {', '.join(known)}")
                raise InputError(f"{node.where}: unknown key {below!r}{hint}")
            result[name] = node
        return result

    def _line_of(self, key: object) -> int:
        """The line of a key; that of the table for a key that is merged in."""
        places: Mapping[object, object] = self.value.lc.data or {}
        return self.value.lc.key(key)[0] + 1 if key in places else self.line

    def items(self) -> list["Node"]:
        """Its entries.

        Raises:
            InputError: it is no list.
        """
        if not isinstance(self.value, CommentedSeq):
            raise self.wrong(f"it must be a list, got {_shown(self.value)}")
        return [
            Node(value, self.path, self.value.lc.item(number)[0] + 1, f"{self.place}[{number}]")
            for number, value in enumerate(self.value)
        ]

    def texts(self) -> list[str]:
        """Its entries as text, or the parts of a text between blanks and commas."""
        if isinstance(self.value, str):
            return self.value.replace(",", " ").split()
        return [item.text() for item in self.items()]

    def text(self) -> str:
        """A text.

        Raises:
            InputError: it is none.
        """
        if not isinstance(self.value, str):
            raise self.wrong(f"it must be text, got {_shown(self.value)}")
        return str(self.value)

    def truth(self) -> bool:
        """True or false.

        Raises:
            InputError: it is neither.
        """
        if not isinstance(self.value, bool | int) or self.value not in (0, 1):
            raise self.wrong(f"it must be true or false, got {_shown(self.value)}")
        return bool(self.value)

    def number(self, names: Mapping[str, Number] | None = None) -> Number:
        """A number, or an expression of numbers and names.

        Args:
            names: values that it may name.

        Raises:
            InputError: it is none.
        """
        if isinstance(self.value, str):
            try:
                return evaluate(self.value, names or {})
            except InputError as error:
                raise self.wrong(str(error)) from error
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong(f"it must be a number, got {_shown(self.value)}")
        return int(self.value) if isinstance(self.value, int) else float(self.value)

    def whole(self, names: Mapping[str, Number] | None = None, least: int = 1) -> int:
        """A whole number.

        Args:
            names: values that an expression may name.
            least: that it may be.

        Raises:
            InputError: it is none.
        """
        value = self.number(names)
        if value != int(value) or value < least:
            raise self.wrong(f"it must be a whole number of at least {least}, got {value}")
        return int(value)

    def version(self, known: Sequence[str]) -> str:
        """A version.

        Args:
            known: those that are read.

        Raises:
            InputError: it is another.
        """
        if str(self.value) not in known:
            raise self.wrong(f"version {self.value!s} is not read; known: {', '.join(known)}")
        return str(self.value)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    return repr(str(value)) if isinstance(value, str) else type(value).__name__


def _tag(value: Any) -> str | None:
    if not isinstance(value, CommentedMap | CommentedSeq | TaggedScalar):
        return None
    tag = value.tag.value if value.tag else None
    return None if tag is None else str(tag)


def read_document(path: Path, root: Path | None = None) -> Node:
    """Read a file.

    Args:
        path: of it.
        root: folder that templates may include from; None for the file's own.

    Raises:
        InputError: it cannot be read, is no YAML, is too large, or has a tag that is not known.
        UnsupportedError: its template has parts that are not read.
    """
    return _load(path, root or path.parent, 0)


def _load(path: Path, root: Path, depth: int) -> Node:
    text = _text(path, root, depth)
    where = f"{_WHAT} {path}"
    try:
        value: Any = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise InputError(f"{where}{line}: not valid YAML, {error.problem}") from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{where}: not valid YAML") from error
    for number, (tag, line) in enumerate(_tags(value, 1)):
        if number > _MAX_NODES:
            raise InputError(f"{where}: it has more than {_MAX_NODES} values")
        if tag is not None and tag not in TAGS:
            hint = did_you_mean(tag, TAGS, otherwise=f"; known: {', '.join(TAGS)}")
            raise InputError(f"{where}:{line}: unknown tag {tag!r}{hint}")
    return Node(value, path, 1)


def _tags(value: Any, line: int) -> Iterator[tuple[str | None, int]]:
    """Tag and line of every value; what stands behind an alias counts each time."""
    yield _tag(value), line
    if isinstance(value, CommentedMap):
        line = value.lc.line + 1
        for part in value.values():
            yield from _tags(part, line)
    elif isinstance(value, CommentedSeq):
        for number, part in enumerate(value):
            yield from _tags(part, value.lc.item(number)[0] + 1)


def _text(path: Path, root: Path, depth: int) -> str:
    """The text of a file, its template filled in."""
    where = f"{_WHAT} {path}"
    if depth > _MAX_DEPTH:
        raise InputError(f"{where}: files include each other more than {_MAX_DEPTH} times")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{where}: it is larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: cannot be read ({error})") from error
    return _filled(text, path, root, depth) if is_template(text) else text


def _filled(text: str, path: Path, root: Path, depth: int) -> str:
    where = f"{_WHAT} {path}"

    def found(name: object) -> Path:
        return inside(root, path.parent, str(name), where)

    def include(name: str, *keys: str) -> str:
        return _flow(_part(_load(found(name), root, depth + 1), keys).value)

    def include_all(pattern: str, *keys: str) -> str:
        folder = (path.parent / pattern).parent
        names = sorted(p.name for p in folder.glob(Path(pattern).name)) if folder.is_dir() else []
        parts = (found(Path(pattern).parent / name) for name in names)
        values = [_part(_load(part, root, depth + 1), keys).value for part in parts]
        return _flow(
            [one for value in values for one in (value if isinstance(value, list) else [value])]
        )

    def path_exists(name: str) -> bool:
        here = (path.parent / name).resolve()
        return here.is_relative_to(root.resolve()) and here.exists()

    def include_text(name: str) -> str:
        return _text(found(name), root, depth + 1)

    def find_path(name: str) -> str:
        return str(found(name))

    def cwd() -> str:
        return str(path.parent.resolve())

    def add_to_path(name: str) -> str:
        del name  # files are looked for from the folder of the file that names them
        return ""

    named = (include, include_all, include_text, find_path, path_exists, cwd, add_to_path)
    return render(text, where, {function.__name__: function for function in named})


def _part(node: Node, keys: tuple[str, ...]) -> Node:
    """What stands behind keys that dots divide."""
    for key in (part for one in keys for part in one.split(".")):
        table = node.table()
        if key not in table:
            raise node.wrong(f"it has no key {key!r}{did_you_mean(key, table)}")
        node = table[key]
    return node


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    tag = _tag(value)
    start = "" if tag is None else f"{tag} "
    if isinstance(value, Mapping):
        parts = (f"{json.dumps(str(key))}: {_flow(part)}" for key, part in value.items())
        return f"{start}{{{', '.join(parts)}}}"
    if isinstance(value, list):
        return f"{start}[{', '.join(map(_flow, value))}]"
    return json.dumps(str(value) if isinstance(value, str) else value)
