"""Speed of fused over reordered networks, one thread, per engine and batch, beside the targets.

Forms are chosen by measurement (``auto``) for each engine and batch. Every setting is measured in
fresh processes pinned to one core; reordered and fused runs alternate, and the figure is the median
over the processes of the median of the paired ratios.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.networks import Measured, Prepared, Setting, measure, prepare, rounds, tell
from benchmarks.results import arguments, show, split, spread, write
from mlcnn import engines

__all__ = ["TARGETS", "Target", "main"]


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio to reach, in one engine or in the best one (None)."""

    network: str
    batch: int
    ratio: float
    engine: str | None = None


TARGETS = (
    Target("lenet5", 1, 1.9, "onnxruntime"),
    Target("lenet5", 8, 2.6, "onnxruntime"),
    Target("vgg16", 1, 1.30),
    Target("vgg16", 8, 1.45),
    Target("vgg16", 64, 1.50),
    Target("googlenet", 1, 1.40),
    Target("googlenet", 8, 1.40),
    Target("densenet121", 1, 1.08),
    Target("densenet121", 8, 1.08),
    Target("vgg16-224", 1, 1.48),
    Target("vgg16-224", 8, 1.48),
)


def _settings(networks: Sequence[str], names: Sequence[str]) -> list[Setting]:
    return [
        Setting(target.network, engine, target.batch)
        for target in TARGETS
        for engine in names
        if not networks or target.network in networks
    ]


def _row(found: Measured) -> list[str]:
    setting = found.setting
    label = f"{setting.network}, batch {setting.batch}, {setting.engine}"
    if not found.ratios:
        return [label, "", "", "", "", found.reason[:60] or "nothing to fuse"]
    times = [f"{found.median_ms[name]:.3f}" for name in ("original", "reordered", "fused")]
    return [label, *times, f"{found.ratio:.2f}", spread(found.ratios)]


def _reached(found: Sequence[Measured]) -> list[list[str]]:
    """One row per target that was measured."""
    rows: list[list[str]] = []
    for target in TARGETS:
        mine = [
            measured
            for measured in found
            if (measured.setting.network, measured.setting.batch) == (target.network, target.batch)
            and target.engine in {None, measured.setting.engine}
            and measured.ratios
        ]
        if not mine:
            continue
        best = max(mine, key=lambda measured: measured.ratio)
        rows.append(
            [
                f"{target.network}, batch {target.batch}",
                f"{target.ratio:.2f}",
                f"{best.ratio:.2f}",
                spread(best.ratios),
                best.setting.engine + ("" if target.engine else " (best)"),
                "reached" if best.ratio >= target.ratio else "missed",
            ]
        )
    return rows


def _forms(prepared: Prepared) -> dict[str, str]:
    chosen = {name: f"{form}: {reason}" for name, (form, reason) in prepared.forms.items()}
    return chosen | dict(prepared.left)


def _document(found: Sequence[Measured], prepared: Mapping[Setting, Prepared]) -> dict[str, object]:
    rows = [item.to_json() | {"forms": _forms(prepared[item.setting])} for item in found]
    return {"results": rows, "targets": _reached(found)}


def _show(found: Sequence[Measured]) -> None:
    columns = ["network", "original ms", "reordered ms", "fused ms", "ratio", "processes"]
    show("fused over reordered, one thread", columns, [_row(item) for item in found])
    columns = ["network", "target", "ratio", "processes", "engine", ""]
    show("targets", columns, _reached(found))


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, "speed")
    parser.add_argument("--networks", type=split, default=[], help="by default all with a target")
    parser.add_argument("--engines", type=split, default=list(engines.available()))
    parser.add_argument("--processes", type=int, default=3, help="fresh processes per setting")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring per process")
    options = parser.parse_args()
    settings = _settings(options.networks, options.engines)
    if not settings:
        known = ", ".join(dict.fromkeys(target.network for target in TARGETS))
        parser.error(f"no network with a target was named; there are {known}")
    results: dict[Setting, list[dict[str, object]]] = {}
    found: list[Measured] = []
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
            # After each, so that an interrupted run has what it measured.
            found = [measure(setting, parts) for setting, parts in results.items()]
            write(options, _document(found, prepared))
    _show(found)
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
