"""The table of mappings of the DOSA artefact (ucb-bar/dosa): Gemminis, layers, what Timeloop says.

A mapping there is ``L3[WIO] Q4 K8 - L2[WI] K8X - L1[O] C2 C2X - L0[W] N1``: levels from the DRAM
inwards, their loops outermost first, X for spatial ones.
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlcnn.codesign.gemmini import GemminiSize
from mlcnn.codesign.mapping import Mapping as LoopMapping
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer

__all__ = ["DosaRow", "parse_mapping", "read_rows"]

_LEVELS = ("L3", "L2", "L1", "L0")


@dataclass(frozen=True, slots=True)
class DosaRow:
    """One mapping.

    Attributes:
        layer: what is mapped; layers of equal sizes are equal.
        size: of the Gemmini.
        mapping: how.
        cycles: Timeloop's.
        energy_uj: Timeloop's.
        edp: Timeloop's, uJ x 1e6 cycles.
        area_mm2: Accelergy's.
    """

    layer: ConvLayer
    size: GemminiSize
    mapping: LoopMapping
    cycles: float
    energy_uj: float
    edp: float
    area_mm2: float


def read_rows(path: Path) -> list[DosaRow]:
    """Read a table, plain or compressed by gzip.

    Raises:
        InputError: it cannot be read, has other columns, or a row is no mapping of a Gemmini.
    """
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(_rows(path, csv.DictReader(file)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"mappings {path}: cannot be read ({error})") from error
    if not rows:
        raise InputError(f"mappings {path}: there is no row")
    return rows


def _rows(path: Path, lines: Iterator[dict[str, str]]) -> Iterator[DosaRow]:
    parsed: dict[str, LoopMapping] = {}
    for number, line in enumerate(lines, start=2):
        try:
            text = line["mapping.mapping"]
            if text not in parsed:
                parsed[text] = parse_mapping(text)
            yield _row(line, parsed[text])
        except KeyError as error:
            raise InputError(f"mappings {path}:{number}: there is no column {error}") from error
        except (ValueError, TypeError, InputError) as error:
            raise InputError(f"mappings {path}:{number}: {error}") from error


def _row(line: Mapping[str, str], mapping: LoopMapping) -> DosaRow:
    words = int(line["arch.mem2_depth"]) * int(line["arch.mem2_width"])
    size = GemminiSize(int(line["arch.meshX"]), int(line["arch.mem1_depth"]), words // 8)
    targets = (float(line[f"target.{name}"]) for name in ("cycle", "energy", "edp", "area"))
    return DosaRow(_layer(line), size, mapping, *targets)


def _layer(line: Mapping[str, str]) -> ConvLayer:
    """The layer, on as much input as its windows cover."""
    numbers = {name: int(line[f"prob.{name}"]) for name in "NKCPQRS"}
    strides = int(line["prob.Hstride"]), int(line["prob.Wstride"])
    dilations = int(line["prob.Hdilation"]), int(line["prob.Wdilation"])
    height, width = (
        (numbers[outputs] - 1) * stride + (numbers[taps] - 1) * dilation + 1
        for outputs, taps, stride, dilation in zip("PQ", "RS", strides, dilations, strict=True)
    )
    return ConvLayer(
        "layer",
        numbers["N"],
        numbers["K"],
        numbers["C"],
        height,
        width,
        numbers["R"],
        numbers["S"],
        strides=strides,
        dilations=dilations,
    )


def parse_mapping(text: str) -> LoopMapping:
    """A mapping of the table.

    Raises:
        InputError: the text is none, or not of four levels.

    Example:
        >>> mapping = parse_mapping("L3[WIO] K2 - L2[WI] K4X - L1[O] N1 - L0[W] N1")
        >>> [level.text() for level in mapping.levels]
        ['[WIO] K2', '[WI] K4X', '[O]', '[W]']
    """
    mapping = LoopMapping.parse(text)
    if [part.split("[")[0] for part in text.split(" - ")] != list(_LEVELS):
        raise InputError(f"mapping {text!r}: its levels must be {', '.join(_LEVELS)}")
    return mapping
