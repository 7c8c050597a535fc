"""``python -m mlcnn.codesign.validate FILE``: the cost model beside Timeloop's figures.

FILE is a table of mappings of the DOSA artefact, see ``dosa``. Nothing is fitted here: constants
are those of the template ``gemmini`` and of the table ``gemmini-40nm``.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import EXACT, EXACT_BOX, TIMELOOP_2023, Convention
from mlcnn.codesign.counts import count
from mlcnn.codesign.dosa import DosaRow, read_rows
from mlcnn.codesign.gemmini import GemminiSize, gemmini, with_one_law
from mlcnn.codesign.mapping import check_factors
from mlcnn.codesign.scorer import energy_pj, latency_cycles
from mlcnn.codesign.sram import load_sram_table
from mlcnn.errors import InputError, MlcnnError
from mlcnn.workload import ConvLayer, loop_nest

__all__ = ["main", "validate"]

Array = NDArray[np.float64]
_UM2_PER_MM2 = 1e6
_SIGNIFICANT = 6


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a table as arrays, with the rows of each layer and of each machine on it."""

    rows: Sequence[DosaRow]
    cycles: Array
    energy_uj: Array
    edp: Array
    groups: Mapping[ConvLayer, Mapping[GemminiSize, list[int]]]


def validate(rows: Sequence[DosaRow]) -> dict[str, Any]:
    """Errors of the cost model against a table.

    Args:
        rows: of the table.

    Returns:
        Fractions: ``latency_exact_share``, ``latency_mae`` (mean absolute error), ``energy_mae``,
        ``energy_max`` and ``edp_mae`` of the convention timeloop-2023 with one energy law for the
        memories on the chip; the same with the constants of the template (``spec_constants``) and
        with other conventions (``exact``, ``exact_box``); and the error of the area (``area``).

    Raises:
        InputError: factors of a row do not multiply to its layer's dimensions.
    """
    table = load_sram_table()
    prepared = _prepare(rows)

    def fitted(size: GemminiSize) -> Architecture:
        return with_one_law(gemmini(size), table)

    own = _errors(prepared, TIMELOOP_2023, (fitted, gemmini))
    return {
        "rows": len(rows),
        "convention": TIMELOOP_2023.name,
        "energy_law": table.name,
        **own[0],
        "spec_constants": own[1],
        "exact": _errors(prepared, EXACT, (fitted,))[0],
        "exact_box": _errors(prepared, EXACT_BOX, (fitted,))[0],
        "area": _area(rows),
    }


def _prepare(rows: Sequence[DosaRow]) -> _Rows:
    groups: dict[ConvLayer, dict[GemminiSize, list[int]]] = defaultdict(lambda: defaultdict(list))
    nests = {layer: loop_nest(layer) for layer in {row.layer for row in rows}}
    for number, row in enumerate(rows):
        check_factors(row.mapping, nests[row.layer])
        groups[row.layer][row.size].append(number)
    return _Rows(
        rows,
        cycles=np.array([row.cycles for row in rows]),
        energy_uj=np.array([row.energy_uj for row in rows]),
        edp=np.array([row.edp for row in rows]),
        groups=groups,
    )


def _errors(
    table: _Rows, rule: Convention, machines: Sequence[Callable[[GemminiSize], Architecture]]
) -> list[dict[str, float]]:
    """Errors under one convention, for each way to make a machine of a size."""
    shape = (len(machines), len(table.rows))
    cycles, energy_uj = np.zeros(shape), np.zeros(shape)
    for layer, sizes in table.groups.items():
        nest = loop_nest(layer)
        numbers = [number for group in sizes.values() for number in group]
        mappings = [table.rows[number].mapping for number in numbers]
        counts = count(nest, Batch.of(mappings, nest), rule)
        start = 0
        for size, group in sizes.items():
            part = counts.part(start, start + len(group))
            for index, machine in enumerate(machines):
                cycles[index, group] = latency_cycles(machine(size), part)
                energy_uj[index, group] = energy_pj(machine(size), part) / 1e6
            start += len(group)
    return [_summary(table, *one) for one in zip(cycles, energy_uj, strict=True)]


def _summary(table: _Rows, cycles: Array, energy_uj: Array) -> dict[str, float]:
    latency = np.abs(cycles / table.cycles - 1)
    energy = np.abs(energy_uj / table.energy_uj - 1)
    edp = np.abs(energy_uj * cycles / 1e6 / table.edp - 1)
    return {
        "latency_exact_share": float((cycles == table.cycles).mean()),
        "latency_mae": float(latency.mean()),
        "energy_mae": float(energy.mean()),
        "energy_max": float(energy.max()),
        "edp_mae": float(edp.mean()),
    }


def _area(rows: Sequence[DosaRow]) -> dict[str, float]:
    """Error of the area's law over the different machines."""
    machines = sorted({(row.size.side, row.area_mm2, row.size) for row in rows}, key=str)
    laws = (gemmini(size).area_um2 or np.nan for _, _, size in machines)
    areas = (area * _UM2_PER_MM2 for _, area, _ in machines)
    errors = np.array([abs(law / area - 1) for law, area in zip(laws, areas, strict=True)])
    return {"machines": len(machines), "mae": float(errors.mean()), "max": float(errors.max())}


def _lines(result: Mapping[str, Any], above: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in result.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{above}{key}.")
        else:
            shown = f"{value:.{_SIGNIFICANT}g}" if isinstance(value, float) else value
            lines.append(f"{above}{key}: {shown}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; by default the process'.

    Returns:
        The exit code: 2 for a file that is no such table.
    """
    parser = argparse.ArgumentParser(prog="python -m mlcnn.codesign.validate", description=__doc__)
    parser.add_argument("file", type=Path, help="a table of mappings, .csv or .csv.gz")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args(arguments)
    try:
        result = validate(read_rows(given.file))
    except MlcnnError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, InputError) else 1
    text = json.dumps(result, indent=2) if given.json else "\n".join(_lines(result))
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
