"""Tables on the terminal and results in a file."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import fresh
from mlcnn.api.machine import compiler, machine, versions

__all__ = ["arguments", "conditions", "show", "split", "spread", "write"]

FOLDER = Path("runs/benchmarks")


def arguments(description: str | None, name: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(description or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=FOLDER / f"{name}.json", help="results file")
    parser.add_argument(
        "--processor-time", action="store_true", help="not wall time: for a machine in use"
    )
    return parser


def split(text: str) -> list[str]:
    """Names or numbers separated by commas."""
    return [part for part in text.split(",") if part]


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures hang on."""
    return {
        "machine": machine(),
        "versions": versions(),
        "compiler": compiler(),
        "date": datetime.now(UTC).date().isoformat(),
        "threads": 1,
        "clock": "processor" if options.processor_time else "wall",
        "core": fresh.core(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def spread(values: Sequence[float]) -> str:
    """Smallest and largest, if there are several."""
    return f"{min(values):.2f}-{max(values):.2f}" if len(values) > 1 else ""


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table; text columns first, figures to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # A file or pipe has no width: nothing is cut there.
    Console(width=None if sys.stdout.isatty() else 220).print(table)


def write(options: argparse.Namespace, results: Mapping[str, Any]) -> None:
    """Write the results with the conditions they were found under."""
    path: Path = options.out
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"conditions": conditions(options), **results}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
