"""The record of one run: what was trained, how, and which test images it classifies correctly."""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["RECORDED", "Cell", "Run", "read_run", "read_runs", "recorded_runs", "write_run"]

RECORDED = Path(__file__).parents[1] / "recorded"
"""The folder of the package's own records."""

_FORMAT = 1


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One place of the matrix, but for the seed.

    Attributes:
        network: name in the zoo.
        dataset: name of the data set.
        form: original, reordered, all-conv or max.
        precision: fp32, fp16, int8 and so on.
    """

    network: str
    dataset: str
    form: str
    precision: str

    @property
    def name(self) -> str:
        """The same as one word."""
        return f"{self.network}-{self.form}-{self.dataset}-{self.precision}"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training run.

    Attributes:
        cell: its place in the matrix.
        seed: of the first weights, the shuffling and the augmentation.
        recipe: how it was trained.
        epochs: what each epoch came to.
        seconds: of training.
        right: which test images it classifies correctly, shape (images,).
        top5: share of the test images whose class is among the five likeliest; None if unknown.
        where: device, processor, threads, versions, commit.
    """

    cell: Cell
    seed: int
    recipe: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...]
    seconds: float
    right: NDArray[np.bool_]
    top5: float | None
    where: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its file, without ending."""
        return f"{self.cell.name}-{self.seed}"

    @property
    def top1(self) -> float:
        """Share of the test images that it classifies correctly."""
        return float(self.right.mean())


def write_run(run: Run, folder: Path) -> Path:
    """Write a record, whole or not at all; returns its path."""
    record = {
        "format": _FORMAT,
        "network": run.cell.network,
        "dataset": run.cell.dataset,
        "form": run.cell.form,
        "precision": run.cell.precision,
        "seed": run.seed,
        "test": {
            "images": len(run.right),
            "top1": run.top1,
            "top5": run.top5,
            "right": packed(run.right),
        },
        "seconds": run.seconds,
        "recipe": dict(run.recipe),
        "where": dict(run.where),
        "epochs": [dict(row) for row in run.epochs],
    }
    path = folder / f"{run.name}.json"
    partial = folder / f".{run.name}.json.partial"
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    partial.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    partial.replace(path)
    return path


def read_run(path: Path) -> Run:
    """Read a record.

    Raises:
        InputError: it is damaged, or none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            raise InputError(
                f"{path}: a record of format {record['format']}, this version reads {_FORMAT}"
            )
        return _run(record)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path}: a damaged record of a run ({what}); remove it, and `mlcnn study` trains the "
            "run anew"
        ) from error


def _run(record: Mapping[str, Any]) -> Run:
    test = record["test"]
    images = test["images"]
    right = unpacked(test["right"], images)
    if abs(right.mean() - test["top1"]) * images > 0.5:
        raise ValueError(f"top1 is {test['top1']}, its bits say {right.mean():.4f}")
    cell = Cell(*(str(record[key]) for key in ("network", "dataset", "form", "precision")))
    epochs = tuple(dict(row) for row in record["epochs"])
    return Run(
        cell, int(record["seed"]), dict(record["recipe"]), epochs, float(record["seconds"]),
        right, test["top5"], dict(record["where"]),
    )  # fmt: skip


def packed(right: NDArray[np.bool_]) -> str:
    """Which images are right as text, a bit each."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpacked(text: str, images: object) -> NDArray[np.bool_]:
    """What was packed, of so many images: as a file says, which may be wrong.

    Raises:
        ValueError: the text is no base64, or not of so many.
    """
    bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if not isinstance(images, int) or len(bits) != (images + 7) // 8 or images < 1:
        raise ValueError(f"its bits are not those of {images} images")
    return np.unpackbits(bits, count=images).astype(bool)


def read_runs(folder: Path) -> tuple[Run, ...]:
    """All records of a folder, by cell and seed.

    Raises:
        InputError: there is no such folder, or a record is damaged or there twice.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; `mlcnn study --out {folder}` trains runs")
    runs = [read_run(path) for path in sorted(folder.glob("*.json"))]
    runs.sort(key=lambda run: (run.cell, run.seed))
    for one, other in itertools.pairwise(runs):
        if one.name == other.name:
            raise InputError(f"{folder}: two records of {one.name}; remove one")
    return tuple(runs)


def recorded_runs() -> tuple[Run, ...]:
    """The package's own records."""
    return read_runs(RECORDED)
