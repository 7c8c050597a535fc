"""What goes where: results to standard output, everything else to standard error."""

import csv
import io
import json
import math
import os
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO, cast

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mlcnn.errors import InputError

if TYPE_CHECKING:
    from mlcnn.api import PerImage

__all__ = [
    "complain",
    "console",
    "print_csv",
    "print_json",
    "print_per_image",
    "print_text",
    "progress",
    "require_streams",
    "show",
]

_PATIENCE_S = 2.0
_FILE_WIDTH = 140


def require_streams() -> None:
    """Make sure that there is a standard output, and that what goes to standard error may go there.

    Raises:
        InputError: standard output is closed.
    """
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison] - closed by the caller
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for good
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - closed by the caller
        raise InputError(
            "standard output is closed, so no result could be printed; redirect it to a file or "
            "to /dev/null"
        )


def _drop(stream: TextIO) -> None:
    """Let the interpreter flush a stream that takes nothing more into nothing at exit."""
    with suppress(OSError, ValueError):  # a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(message: str) -> None:
    """Print one line to standard error; where that takes nothing, there is nobody to tell."""
    try:
        print(f"mlcnn: {' '.join(message.split())}", file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        _drop(sys.stderr)


@contextmanager
def _writing() -> Generator[TextIO]:
    """Standard output, as it is now (tests replace it), and what becomes of it if it fails.

    Yields:
        The stream.

    Raises:
        BrokenPipeError: nobody reads any more.
        InputError: what it leads to takes nothing more.
    """
    out = sys.stdout
    try:
        yield out
    except BrokenPipeError:
        _drop(out)
        raise
    except OSError as error:
        _drop(out)
        raise InputError(
            f"standard output cannot be written: {error.strerror or error}; give it a place that "
            "can take the result"
        ) from error


class _StandardOutput(io.TextIOBase):
    """Standard output: names that its encoding lacks are written with escapes."""

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sys.stdout.encoding or "utf-8"

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def fileno(self) -> int:
        return sys.stdout.fileno()

    def write(self, text: str, /) -> int:
        known = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        with _writing() as out:
            out.write(known)
        return len(text)

    def flush(self) -> None:
        with _writing() as out:
            out.flush()


class _Console(Console):
    """A console that leaves it to the caller what to do when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """The console of standard output."""
    return _Console(file=cast("IO[str]", _StandardOutput()), highlight=False)


def _plain(value: object) -> object:
    """A value that JSON can hold: not-a-number and infinity become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def print_json(document: Mapping[str, object]) -> None:
    """Print one JSON document to standard output."""
    plain = _plain(document)
    text = json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # JSON has escapes of its own
        text = json.dumps(plain, indent=2, allow_nan=False)
    print_text(f"{text}\n")


def print_csv(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows to standard output as one table of comma-separated values, headings first.

    Args:
        rows: values by column; the first row has every column, others may lack some.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    print_text(text.getvalue())


def print_text(text: str) -> None:
    """Print text to standard output as it is; signs that its encoding lacks are escaped."""
    out = _StandardOutput()
    out.write(text)
    out.flush()


def show(*results: RenderableType) -> None:
    """Print tables and texts to standard output."""
    out = console()
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _FILE_WIDTH  # a file or pipe has no width: a table need not fold there
    for result in results:
        out.print(result)


class _Bars:
    """One bar for each stage of the work, shown only once the work has taken a while."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of ``stage`` are done; 0 of 0 if unknown."""
        if stage not in self._tasks:
            for earlier in self._tasks.values():
                self._bars.update(earlier, visible=False)
            self._tasks[stage] = self._bars.add_task(stage, total=total or None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)


@contextmanager
def progress() -> Generator[Callable[[str, int, int], None]]:
    """Progress bars on standard error, if it is a terminal and the work takes over two seconds.

    Yields:
        What to call as the work goes on: with the stage, the steps done and their number.
    """
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
    # A timer, because the first step alone can take longer than anyone waits without a sign.
    timer = threading.Timer(_PATIENCE_S, bars.start)
    timer.daemon = True
    timed = bars.console.is_terminal
    if timed:
        timer.start()
    try:
        yield _Bars(bars)
    finally:
        timer.cancel()
        if timed:
            timer.join()
        # Bars that were never started would still end their line.
        if bars.live.is_started:
            bars.stop()


def print_per_image(each: "PerImage | None") -> None:
    """Print what images cost, where that was found out, as lines below what was shown."""
    if each is not None:
        console().print("", each.shown().text(), sep="\n", markup=False, soft_wrap=True)
