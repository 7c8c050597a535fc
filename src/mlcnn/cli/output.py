"""What goes where: results to standard output, everything else to standard error."""

import json
import math
import os
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["complain", "console", "print_json", "progress", "show"]

_PATIENCE_S = 2.0
_FILE_WIDTH = 140


def complain(message: str) -> None:
    """Print one line to standard error."""
    print(f"mlcnn: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201


class _Console(Console):
    """A console that leaves it to the caller what to do when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """The console of standard output, as it is now (tests replace it)."""
    return _Console(file=sys.stdout, highlight=False)


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
    text = json.dumps(_plain(document), indent=2, allow_nan=False, ensure_ascii=False)
    sys.stdout.write(f"{text}\n")


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
