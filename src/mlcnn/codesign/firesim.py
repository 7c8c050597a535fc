"""``python -m mlcnn.codesign.firesim FILE``: the cost model beside cycles measured on a Gemmini.

FILE is a table of mappings of the DOSA artefact (``dosa``) whose cycles were measured on the RTL of
a Gemmini, simulated on FPGAs by FireSim. First the plain analysis, to which nothing is fitted; then
a refinement with coefficients of half of the layers (``refinement``), judged on the other half, and
beside it the plain analysis times one factor that is fitted so. The array of the table is a
placeholder of 128 x 128 units: the template ``gemmini`` of 16 x 16 is taken.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.conventions import TIMELOOP_2023
from mlcnn.codesign.dosa import DosaRow, read_rows
from mlcnn.codesign.files import load_architecture
from mlcnn.codesign.mapping import check_factors
from mlcnn.codesign.refinement import Features, Refinement, features_of
from mlcnn.errors import InputError, MlcnnError
from mlcnn.workload import ConvLayer, loop_nest

__all__ = ["evaluate", "main", "split_layers"]

Array = NDArray[np.float64]
_SPLITS = 20
_SIGNIFICANT = 4


def evaluate(rows: Sequence[DosaRow], *, splits: int = _SPLITS) -> dict[str, Any]:
    """Errors of the plain analysis and of the refined one.

    Args:
        rows: of the table; cycles are what was measured.
        splits: how often the layers are split in halves, by seeds 0, 1, ...

    Returns:
        ``plain`` over all possible rows; ``impossible``, the rows that took fewer cycles than their
        own mapping's multiplications at its spatial factors, left out of everything else;
        ``refined`` the means and the worst over the splits, on the halves that nothing was fitted
        to; ``layers``, and ``splits`` with the numbers of those that were fitted to.

    Raises:
        InputError: factors of a row do not multiply to its layer's dimensions, a row has no cycles,
            fewer than two layers or no splits.
    """
    machine = load_architecture("gemmini")
    layers = list(dict.fromkeys(row.layer for row in rows))
    _check(rows, layers, splits)
    features = features_of(rows, machine, TIMELOOP_2023)
    measured = np.array([row.cycles for row in rows])
    number = np.array([layers.index(row.layer) for row in rows])
    possible = measured >= features.compute
    kept, taken = features.at(possible), measured[possible]
    halves = [
        _split(kept, taken, number[possible], split_layers(len(layers), seed), seed)
        for seed in range(splits)
    ]
    return {
        "rows": len(rows),
        "architecture": f"{machine.name}, 16 x 16",
        "architecture_of_the_file": _placeholder(rows),
        "rows_over_16_side_by_side": sum(_widest(row) > 16 for row in rows),
        "convention": TIMELOOP_2023.name,
        "impossible": _impossible(rows, features.compute),
        "plain": _errors(kept.plain, taken),
        "refined": _over_splits(halves),
        "layers": [_name(layer) for layer in layers],
        "splits": halves,
    }


def _check(rows: Sequence[DosaRow], layers: Sequence[ConvLayer], splits: int) -> None:
    if splits < 1:
        raise InputError(f"splits: {splits}; at least 1 is required")
    if len(layers) < 2:
        raise InputError("the table has one layer: halves of the layers need two at least")
    for row in rows:
        check_factors(row.mapping, loop_nest(row.layer))
        if not row.cycles > 0:
            raise InputError(f"cycles must be positive, got {row.cycles}")


def split_layers(many: int, seed: int) -> NDArray[np.bool_]:
    """Which layers are fitted to: half of them, rounded down, at random.

    Args:
        many: layers that there are.
        seed: of the choice.
    """
    result = np.zeros(many, bool)
    result[np.random.default_rng(seed).permutation(many)[: many // 2]] = True
    return result


def _split(
    features: Features,
    measured: Array,
    number: NDArray[np.int64],
    fitted: NDArray[np.bool_],
    seed: int,
) -> dict[str, Any]:
    """Errors on the layers that nothing was fitted to."""
    inside = fitted[number]
    refinement = Refinement.fit(features.at(inside), measured[inside])
    others = features.at(~inside)
    plain = _errors(others.plain, measured[~inside])
    refined = _errors(refinement.cycles(others), measured[~inside])
    factor = np.exp(np.log(measured[inside] / features.at(inside).plain).mean())
    return {
        "seed": seed,
        "fitted_layers": np.flatnonzero(fitted).tolist(),
        "rows": {"fitted": int(inside.sum()), "others": int((~inside).sum())},
        "plain": plain,
        "one_factor": _errors(others.plain * factor, measured[~inside]),
        "refined": refined,
        "log_rms_lower_by": 1 - refined["log_rms"] / plain["log_rms"],
    }


def _over_splits(halves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lower = np.array([half["log_rms_lower_by"] for half in halves])
    means = {
        f"{kind}.{name}": float(np.mean([half[kind][name] for half in halves]))
        for kind in ("plain", "one_factor", "refined")
        for name in halves[0][kind]
    }
    return {
        "splits": len(halves),
        **means,
        "log_rms_lower_by": {"mean": float(lower.mean()), "least": float(lower.min())},
    }


def _errors(cycles: Array, measured: Array) -> dict[str, float]:
    """Mean relative error, Spearman's correlation, root mean square of the ratio's logarithm."""
    return {
        "mean_relative_error": float(np.abs(cycles / measured - 1).mean()),
        "rank_correlation": float(np.corrcoef(_ranks(cycles), _ranks(measured))[0, 1]),
        "log_rms": float(np.sqrt((np.log(cycles / measured) ** 2).mean())),
    }


def _ranks(values: Array) -> Array:
    """Ranks; the same for equal values."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def _impossible(rows: Sequence[DosaRow], bound: Array) -> list[dict[str, Any]]:
    """Rows faster than their multiplications side by side allow; lines count the heading."""
    return [
        {
            "line": line,
            "layer": _name(row.layer),
            "mapping": " - ".join(level.text() for level in row.mapping.levels),
            "measured_cycles": row.cycles,
            "least_cycles": float(least),
            "ratio": row.cycles / float(least),
        }
        for line, (row, least) in enumerate(zip(rows, bound, strict=True), start=2)
        if row.cycles < least
    ]


def _placeholder(rows: Sequence[DosaRow]) -> str:
    sizes = sorted({row.size.side for row in rows})
    return f"a placeholder: {', '.join(f'{side} x {side}' for side in sizes)} in every row"


def _widest(row: DosaRow) -> int:
    """The largest spatial factor."""
    return max((factor for level in row.mapping.levels for _, factor in level.spatial), default=1)


def _name(layer: ConvLayer) -> str:
    text = " ".join(f"{dim}{getattr(layer, dim)}" for dim in "NKCPQRS")
    return text if layer.strides == (1, 1) else f"{text} stride {layer.strides[0]}"


def _text(result: Mapping[str, Any]) -> str:
    """What a person reads: no lists of layers."""

    def lines(part: Mapping[str, Any], above: str) -> list[str]:
        found: list[str] = []
        for key, value in part.items():
            if isinstance(value, dict):
                found += lines(value, f"{above}{key}.")
            elif not isinstance(value, list):
                shown = f"{value:.{_SIGNIFICANT}g}" if isinstance(value, float) else value
                found.append(f"{above}{key}: {shown}")
        return found

    head = lines(result, "")
    rows = [
        f"  line {one['line']}: {one['layer']}: {one['measured_cycles']:.0f} of at least "
        f"{one['least_cycles']:.0f} cycles ({one['ratio']:.2f})"
        for one in result["impossible"]
    ]
    halves = [
        f"  seed {one['seed']}: log_rms {one['plain']['log_rms']:.3f} -> "
        f"{one['refined']['log_rms']:.3f}, fitted to layers "
        f"{' '.join(map(str, one['fitted_layers']))}"
        for one in result["splits"]
    ]
    return "\n".join([*head, f"impossible: {len(rows)} rows, left out", *rows, "splits:", *halves])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; by default the process'.

    Returns:
        The exit code: 2 for a file that is no such table.
    """
    parser = argparse.ArgumentParser(prog="python -m mlcnn.codesign.firesim", description=__doc__)
    parser.add_argument("file", type=Path, help="a table of measured mappings, .csv or .csv.gz")
    parser.add_argument("--splits", type=int, default=_SPLITS, help="splits of the layers")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args(arguments)
    try:
        result = evaluate(read_rows(given.file), splits=given.splits)
    except MlcnnError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, InputError) else 1
    sys.stdout.write((json.dumps(result, indent=2) if given.json else _text(result)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
