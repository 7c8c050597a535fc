"""Tables on the terminal and results in a file."""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import fresh
from mlcnn.api.machine import compiler, machine, processor, versions

__all__ = [
    "KEPT", "Row", "Rows", "arguments", "conditions", "read_rows", "repeated", "show",
    "split", "write",
]  # fmt: skip

FOLDER = Path("runs/benchmarks")
KEPT = Path(__file__).parent / "measured"
"""Figures that README's tables are made of: a folder per processor, a file per benchmark."""

Row = dict[str, Any]


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


def repeated(
    description: str | None, name: str, *, seconds: float | None = None, processes: int = 5
) -> argparse.ArgumentParser:
    """A parser for figures over fresh processes, whose rows are kept one by one.

    Args:
        description: the first line is shown.
        name: of the benchmark.
        seconds: of measuring per process; None where time does not say when it ends.
        processes: by default.
    """
    parser = arguments(description, name)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="by default all")
    parser.add_argument("--batch", type=int, nargs="+", default=[], help="by default all")
    parser.add_argument(
        "--processes", type=int, default=processes, help="fresh processes per figure"
    )
    if seconds is not None:
        parser.add_argument(
            "--seconds", type=float, default=seconds, help="of measuring per process"
        )
    parser.add_argument(
        "--keep", dest="out", action="store_const", const=_kept(name),
        help="write where the tables of `python -m benchmarks.tables` come from",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="leave rows that are there, from as many processes under the same conditions",
    )  # fmt: skip
    return parser


def _kept(name: str) -> Path:
    """Where the results on this processor are kept."""
    told = processor()
    words = " ".join(told[key] for key in ("name", "family", "model", "instructions"))
    return KEPT / re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") / f"{name}.json"


def split(text: str) -> list[str]:
    """Names or numbers separated by commas."""
    return [part for part in text.split(",") if part]


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures hang on."""
    return {
        "machine": machine(),
        "processor": processor(),
        "versions": versions(),
        "compiler": compiler(),
        "date": datetime.now(UTC).date().isoformat(),
        "threads": 1,
        "clock": "processor" if options.processor_time else "wall",
        "core": fresh.core(),
    }


def _load() -> list[float] | None:
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


class Rows:
    """Rows of a benchmark in a file, each with the conditions that it was found under.

    A row replaces the one with its key, so that an interrupted run has what it measured, and
    networks can be measured one by one.
    """

    def __init__(self, options: argparse.Namespace, key: Sequence[str]) -> None:
        """Rows in the file of these options; ``key`` names the fields that tell rows apart."""
        self._path: Path = options.out
        self._key, self._resume = tuple(key), bool(options.resume)
        self._conditions = conditions(options)
        self.rows: list[Row] = read_rows(self._path) if self._path.exists() else []

    def _same(self, row: Row, key: Mapping[str, Any]) -> bool:
        return all(row[name] == key[name] for name in self._key)

    def done(self, processes: int, **key: Any) -> bool:
        """Whether a run that is resumed finds this row there."""
        mine = {name: told for name, told in self._conditions.items() if name != "date"}
        return self._resume and any(
            self._same(row, key)
            and row["processes"] >= processes
            and mine.items() <= row["conditions"].items()
            for row in self.rows
        )

    def put(self, row: Row) -> None:
        """Add a row, and write the file."""
        row = {**row, "load": _load(), "conditions": self._conditions}
        places = [index for index, old in enumerate(self.rows) if self._same(old, row)]
        if places:
            self.rows[places[0]] = row
        else:
            self.rows.append(row)
        self._write()

    def _write(self) -> None:
        found: list[Any] = []
        rows: list[Row] = []
        for row in self.rows:
            if row["conditions"] not in found:
                found.append(row["conditions"])
            rows.append({**row, "conditions": found.index(row["conditions"])})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"conditions": found, "rows": rows}, indent=1)
        self._path.write_text(text + "\n", encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """Rows of a file that ``Rows`` wrote, each with its conditions."""
    document = json.loads(path.read_text(encoding="utf-8"))
    found = document["conditions"]
    return [{**row, "conditions": found[row["conditions"]]} for row in document["rows"]]


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table; text columns first, figures to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # A file or pipe has no width: nothing is cut there.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


def write(options: argparse.Namespace, results: Mapping[str, Any]) -> None:
    """Write the results with the conditions they were found under."""
    path: Path = options.out
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"conditions": {**conditions(options), "load": _load()}, **results}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
