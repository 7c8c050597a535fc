"""What ``mlcnn compress`` and other commands came to, from the results in a folder."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from mlcnn.errors import InputError
from mlcnn.reproduce.reproduction import Beside, Cell

__all__ = ["gone", "measured", "percent", "rows_of"]

_RESULT = "result.json"
_COSTS = ("parameters", "multiplications", "multiplications run", "peak_bytes", "bytes")


def measured(folder: Path) -> Beside:
    """A row for each run.

    Args:
        folder: searched with all folders in it.

    Raises:
        InputError: there is no such folder, no result in it, or one is damaged.
    """
    return Beside(
        f"runs of `mlcnn compress` in {folder}: what is gone, %",
        ("network", "method", *(name.replace("_", " ") for name in _COSTS), "latency",
         "accuracy before, %", "after, %", "test images"),
        tuple(rows_of(folder, "mlcnn compress", "penni", _row)),
    )  # fmt: skip


def rows_of(
    folder: Path, command: str, what: str, row: Callable[[Mapping[str, Any]], tuple[Cell, ...]]
) -> Iterator[tuple[Cell, ...]]:
    """A row of each result of a command.

    Args:
        folder: searched with all folders in it.
        command: whose results they are.
        what: what of ``mlcnn reproduce`` names the commands.
        row: of a result.

    Raises:
        InputError: there is no such folder, no result in it, or one is damaged.
    """
    paths = sorted(folder.rglob(_RESULT)) if folder.is_dir() else []
    if not paths:
        raise InputError(
            f"{folder}: no {_RESULT} of `{command}` in it; the commands that make one stand "
            f"in `mlcnn reproduce {what}`"
        )
    for path in paths:
        try:
            yield row(cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: no result of `{command}` ({type(error).__name__}: {error}); remove it"
            ) from error


def _row(found: Mapping[str, Any]) -> tuple[Cell, ...]:
    accuracy, costs = found["accuracy"], found["cost"]
    return (
        str(found["name"]),
        str(found["method"]),
        *(gone(costs.get(name)) for name in _COSTS),
        _latencies(found["latency_ms"]),
        percent(accuracy["before"]),
        percent(accuracy["after"]),
        accuracy["images"],
    )


def gone(cost: Mapping[str, Any] | None) -> float | None:
    """What is gone of a cost, the mean of it where it differs from image to image."""
    if cost is None:
        return None
    before, after = (
        value["mean"] if isinstance(value, dict) else value
        for value in (cost["before"], cost["after"])
    )
    return 100 * (1 - float(after) / float(before))


def _latencies(engines: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(
        f"{engine} {100 * (1 - times['after'] / times['before']):.1f}"
        for engine, times in engines.items()
    )


def percent(share: float | None) -> float | None:
    """Of a share; None of none."""
    return None if share is None else 100 * share
