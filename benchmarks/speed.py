"""Speed of fused over reordered networks, one thread, per engine and batch, beside the targets.

Forms are chosen by measurement (``auto``) for each engine and batch. Every setting is measured in
fresh processes pinned to one core; reordered and fused runs alternate, and the figure is the median
over the processes of the median of the paired ratios. Engines of a setting follow one another, so
that fused native can be held against the better other engine, process by process.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.networks import Prepared, Setting, measure, prepare, rounds, tell
from benchmarks.results import Row, Rows, repeated, show, split
from benchmarks.targets import Figure, Found, spread, targets_of
from mlcnn import engines

__all__ = ["found", "main"]

_FUSED = (Figure.FUSED_ONNXRUNTIME, Figure.FUSED_OTHER, Figure.FUSED_NATIVE)


def _settings(options: argparse.Namespace) -> list[Setting]:
    return [
        Setting(network, engine, batch)
        for network, batch in targets_of(*_FUSED)
        for engine in options.engines
        if (not options.networks or network in options.networks)
        and (not options.batch or batch in options.batch)
    ]


def _figure(row: Row) -> Figure:
    """Which target a row is held against."""
    if row["engine"] == "native":
        return Figure.FUSED_NATIVE
    alone = row["engine"] == "onnxruntime" and row["network"] == "lenet5"
    return Figure.FUSED_ONNXRUNTIME if alone else Figure.FUSED_OTHER


def _ahead(rows: Sequence[Row]) -> list[float]:
    """How many times as fast as the better other engine fused native is, by process.

    Args:
        rows: of one network and batch; empty is what comes without native or without others.
    """
    fused = {
        row["engine"]: [times["fused"] for times in row["by_process_ms"]]
        for row in rows
        if row["ratios"]
    }
    mine = fused.pop("native", [])
    best = min(fused.values(), key=median, default=[])
    return [other / own for other, own in zip(best, mine, strict=False)]


def _line(row: Row) -> list[str]:
    label = f"{row['network']}, batch {row['batch']}, {row['engine']}"
    if not row["ratios"]:
        return [label, "", "", "", "", row["reason"][:60] or "nothing to fuse"]
    times = [f"{row['median_ms'][name]:.3f}" for name in ("original", "reordered", "fused")]
    return [label, *times, f"{row['ratio']:.2f}", spread(row["ratios"])]


def found(rows: Sequence[Row]) -> list[Found]:
    """The figures of these rows: of the best of the engines that each is for."""
    figures: list[Found] = []
    for network, batch in targets_of(*_FUSED):
        mine = [row for row in rows if (row["network"], row["batch"]) == (network, batch)]
        for figure in _FUSED:
            fitting = [row for row in mine if row["ratios"] and _figure(row) == figure]
            best = max(fitting, key=lambda row: row["ratio"], default=None)
            if best is not None:
                figures.append(Found(figure, network, batch, best["ratios"]))
        ahead = _ahead(mine)
        if ahead:
            figures.append(Found(Figure.FUSED_AHEAD, network, batch, ahead))
    return figures


def _forms(prepared: Prepared) -> dict[str, str]:
    chosen = {name: f"{form}: {reason}" for name, (form, reason) in prepared.forms.items()}
    return chosen | dict(prepared.left)


def _measure(settings: Sequence[Setting], options: argparse.Namespace, rows: Rows) -> None:
    """Measure the settings of one network; rows are written as they come."""
    results: dict[Setting, list[dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(settings, Path(folder))
        for setting, result in rounds(
            prepared,
            processes=options.processes,
            budget_s=options.seconds,
            processor_time=options.processor_time,
        ):
            results.setdefault(setting, []).append(result)
            tell(setting, result)
            row = measure(setting, results[setting]).to_json()
            rows.put({**row, "forms": _forms(prepared[setting])})


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "speed", seconds=3)
    parser.add_argument("--engines", type=split, default=list(engines.available()))
    options = parser.parse_args()
    settings = _settings(options)
    if not settings:
        known = ", ".join(dict(targets_of(*_FUSED)))
        parser.error(f"no network with a target was named; there are {known}")
    rows = Rows(options, ("network", "batch", "engine"))
    for network in dict.fromkeys(setting.network for setting in settings):
        mine = [
            setting
            for setting in settings
            if setting.network == network
            and not rows.done(
                options.processes, network=network, batch=setting.batch, engine=setting.engine
            )
        ]
        if mine:
            _measure(mine, options, rows)
    wanted = {(setting.network, setting.batch) for setting in settings}
    mine = [row for row in rows.rows if (row["network"], row["batch"]) in wanted]
    columns = ["network", "original ms", "reordered ms", "fused ms", "ratio", "processes"]
    show("fused over reordered, one thread", columns, [_line(row) for row in mine])
    columns = ["times as fast", "ratio", "processes", "target", ""]
    lines = [[f"{f.network}, batch {f.batch}: {f.figure}", *f.cells()] for f in found(mine)]
    show("targets", columns, lines)
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
