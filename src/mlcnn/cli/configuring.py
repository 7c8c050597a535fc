"""Options that a project repeats, from its ``mlcnn.toml``, and how much is told.

The file has a table ``[defaults]`` for every command that knows an option, and tables with the
names of commands (``[check]``, ``[bench]``, ``[rtl.simulate]``); keys are long names of options.
What stands on the command line wins over a command's own table, and that over ``[defaults]``.
"""

import logging
import os
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from cyclopts import App, Token

from mlcnn.cli.output import complain
from mlcnn.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from cyclopts.argument import Argument, ArgumentCollection

__all__ = ["FILE", "NOTE", "VARIABLE", "configure"]

FILE = "mlcnn.toml"
VARIABLE = "MLCNN_CONFIG"

NOTE = 25
"""Level of what is told without ``-v``, but is no warning: between it and INFO."""
logging.addLevelName(NOTE, "NOTE")

_DEFAULTS = "defaults"
_LOG = logging.getLogger(__name__)
_LEVELS = (NOTE, logging.INFO, logging.DEBUG)
# They say where the file is, or belong to one call.
_NOT_IN_FILE = frozenset({"--config", "--no-config", "--debug", "--help", "--version"})
# Options of text that name a file or a folder, or else something built in.
_PLACES = frozenset(
    {"--against", "--baseline", "--constraints", "--data", "--on", "--space", "--technology"}
)
_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One option in the file.

    Attributes:
        path: of the file.
        table: the table's name; empty for what stands outside of all.
        key: the option's long name, without the dashes.
        value: as TOML has it.
        line: of the file, from 1; None where it is not found.
    """

    path: Path
    table: str
    key: str
    value: object
    line: int | None

    @property
    def command(self) -> Command:
        """The command whose table it is."""
        return tuple(self.table.split("."))

    @property
    def place(self) -> str:
        """File, line and table, as the beginning of a message."""
        line = "" if self.line is None else f":{self.line}"
        return f"{self.path}{line}: [{self.table}]"


def configure(app: App, commands: Command, arguments: "ArgumentCollection") -> None:
    """Fill in what the command line left open, and set how much is told; cyclopts calls it.

    Args:
        app: the whole command line.
        commands: of this call.
        arguments: of the command, with what the command line gave.

    Raises:
        InputError: there is something wrong with the file.
    """
    if "--config" not in _by_name(arguments):
        return  # no command of ours, as --install-completion
    root = app.app_stack.stack[-1][0]
    path = _path(arguments)
    if path is not None:
        entries = tuple(_entries(path))
        _require_known(root, entries, commands, arguments)
        _fill(arguments, commands, entries, path.parent)
    _tell(arguments)
    if path is not None:
        _LOG.info("options from %s", path)


def _by_name(arguments: "ArgumentCollection") -> "dict[str, Argument]":
    """Arguments by their long names: positive ones alone."""
    return {
        name: argument
        for argument in arguments
        if argument.parse
        for name in argument.names
        if name.startswith("--") and name not in argument.negatives
    }


def _tell(arguments: "ArgumentCollection") -> None:
    count = sum(
        token.implicit_value if isinstance(token.implicit_value, int) else int(token.value or 0)
        for token in _by_name(arguments)["--verbose"].tokens
    )
    logging.getLogger("mlcnn").setLevel(_LEVELS[max(0, min(count, len(_LEVELS) - 1))])


def _path(arguments: "ArgumentCollection") -> Path | None:
    """The file to read: the one that is named, or the project's own, or none."""
    known = _by_name(arguments)
    named = [token.value for token in known["--config"].tokens]
    if known["--no-config"].tokens:
        if named:
            raise InputError(f"--config {named[0]} and --no-config: give one")
        return None
    variable = os.environ.get(VARIABLE)
    for source, name in (("--config", next(iter(named), None)), (VARIABLE, variable)):
        if name:
            path = Path(name)
            if not path.is_file():
                raise InputError(f"{source} {name}: no such file")
            return path.absolute()
    try:
        return _found(Path.cwd(), _home())
    except OSError:  # a folder that is gone, or above which nothing may be read
        return None


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user without one, as in a container
        return None


def _found(folder: Path, home: Path | None) -> Path | None:
    """The nearest file above a folder; a repository and the home folder end the search."""
    for place in (folder, *folder.parents):
        path = place / FILE
        if path.is_file():
            if not _is_open(place):
                return path
            complain(
                f"warning: {path} is not read, since everybody may write to its folder; name it "
                "with --config"
            )
            return None
        if place == home or (place / ".git").exists():
            return None
    return None


def _is_open(folder: Path) -> bool:
    """Whether everybody may write there, as in /tmp: options name data and code."""
    return os.name == "posix" and bool(folder.stat().st_mode & 0o002)


def _entries(path: Path) -> Iterator[_Entry]:
    """All options of a file.

    Raises:
        InputError: it cannot be read, is no TOML, or has an option outside of a table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error
    lines = _lines(text)
    for name, value in content.items():
        if not isinstance(value, Mapping):
            line = f":{lines['', name]}" if ("", name) in lines else ""
            raise InputError(
                f"{path}{line}: {name} stands in no table; put it below "
                f"[{_DEFAULTS}], for every command, or below a command's name, as [check]"
            )
        yield from _table(path, name, value, lines)


def _table(
    path: Path, name: str, content: Mapping[str, Any], lines: Mapping[tuple[str, str], int]
) -> Iterator[_Entry]:
    for key, value in content.items():
        line = lines.get((name, key))
        if isinstance(value, Mapping):
            yield from _table(path, f"{name}.{key}", value, lines)
        else:
            yield _Entry(path, name, key, value, line)
    if not content:  # the name of an empty table is looked at, too
        yield _Entry(path, name, "", None, lines.get((name, "")))


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Where keys stand, by table and key; what is written in unusual ways is left out."""
    found: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = header[1].replace('"', "")
            found.setdefault((table, ""), number)
        elif key := re.match(r"""\s*["']?([\w-]+)["']?\s*=""", line):
            found.setdefault((table, key[1]), number)
    return found


def _require_known(
    root: App,
    entries: tuple[_Entry, ...],
    own: Command = (),
    arguments: "ArgumentCollection | None" = None,
) -> None:
    """Refuse a table, a key or a value that no command takes, whichever command runs.

    What the command that runs has is there already; to ask others for theirs takes time.
    """
    apps = dict(_commands(root, ()))
    known = {} if arguments is None else {own: _by_name(arguments)}

    def options(command: Command) -> "dict[str, Argument]":
        if command not in known:
            known[command] = _by_name(apps[command].assemble_argument_collection())
        return known[command]

    for entry in entries:
        _require_table(entry, apps)
        commands = (*known, *apps) if entry.table == _DEFAULTS else (entry.command,)
        if not entry.key:
            continue
        name = f"--{entry.key}"
        if name in _NOT_IN_FILE:
            raise InputError(f"{entry.place} {entry.key}: give it on the command line")
        found = next((options(each)[name] for each in commands if name in options(each)), None)
        if found is None:
            names = dict.fromkeys(option for each in commands for option in options(each))
            raise _unknown(entry, [option.removeprefix("--") for option in names])
        _values(entry, found)


def _unknown(entry: _Entry, names: Sequence[str]) -> InputError:
    is_own = entry.table != _DEFAULTS
    told = f"mlcnn {' '.join(entry.command)} has no" if is_own else "no command has"
    near = did_you_mean(entry.key, names)
    return InputError(f"{entry.place} {entry.key}: {told} option --{entry.key}{near}")


def _require_table(entry: _Entry, commands: Mapping[Command, App]) -> None:
    names = [_DEFAULTS, *(".".join(command) for command in commands)]
    if entry.table not in names:
        raise InputError(
            f"{entry.place} is no command of mlcnn{did_you_mean(entry.table, names)} "
            f"[{_DEFAULTS}] holds for every command"
        )


def _commands(app: App, above: Command) -> Iterator[tuple[Command, App]]:
    """All commands that take options, with what they are called with."""
    for name in app:
        if name.startswith("-"):
            continue
        command = app[name]
        below = (*above, name)
        inner = [part for part in command if not part.startswith("-")]
        if inner:
            yield from _commands(command, below)
        else:
            yield below, command


def _fill(
    arguments: "ArgumentCollection", commands: Command, entries: tuple[_Entry, ...], folder: Path
) -> None:
    """Give an option the value of the file where the command line gave none."""
    known = _by_name(arguments)
    open_ = {name: argument for name, argument in known.items() if not argument.tokens}
    own = ".".join(commands)
    chosen = {entry.key: entry for entry in entries if entry.table == _DEFAULTS}
    chosen |= {entry.key: entry for entry in entries if entry.table == own}
    for key, entry in chosen.items():
        argument = open_.get(f"--{key}")
        if argument is None:
            continue
        for index, value in enumerate(_values(entry, argument)):
            given = _placed(f"--{key}", value, argument, folder)
            token = Token(keyword=f"--{key}", source=str(entry.path), index=index)
            told = isinstance(given, bool)
            argument.append(
                token.evolve(implicit_value=given) if told else token.evolve(value=str(given))
            )


def _placed(name: str, value: object, argument: "Argument", folder: Path) -> object:
    """A file's relative path seen from the folder of mlcnn.toml; everything else as it is."""
    kind, _ = _kind(argument.hint)
    if not isinstance(value, str) or not (kind is Path or name in _PLACES):
        return value
    path = folder / Path(value).expanduser()
    return str(path) if kind is Path or path.exists() else value


def _kind(hint: object) -> tuple[Any, bool]:
    """The type of one value of an option, and whether it takes several."""
    if get_origin(hint) in {Union, types.UnionType}:
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        return get_args(hint)[0], True
    return hint, False


def _values(entry: _Entry, argument: "Argument") -> list[object]:
    """The values of an option, of the right type.

    Raises:
        InputError: they are of another type, or none of those to choose from.
    """
    kind, several = _kind(argument.hint)
    values = entry.value if isinstance(entry.value, list) else [entry.value]
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    wanted = str if choices or kind is Path else kind
    for value in values:
        fits = type(value) is wanted or (wanted is float and type(value) is int)
        if choices and fits and value not in choices:
            raise InputError(
                f"{entry.place} {entry.key} = {value!r}: one of {', '.join(choices)} is "
                f"required{did_you_mean(str(value), choices)}"
            )
        if not fits or (isinstance(entry.value, list) and not several):
            several_told = f"{_KINDS.get(wanted, 'a text')}{', or a list of them' * several}"
            raise InputError(
                f"{entry.place} {entry.key} = {_written(entry.value)}: {several_told} is required"
            )
    return values


def _written(value: object) -> str:
    """A value as TOML writes it, nearly."""
    return str(value).lower() if isinstance(value, bool) else repr(value)
