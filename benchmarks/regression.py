"""No network of the zoo gets slower: fused over reordered in five fresh processes per setting.

Prints the smallest median ratio first; exits 1 if one is under the limit.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.networks import Measured, Setting, measure, prepare, rounds, tell
from benchmarks.results import arguments, show, split, write
from benchmarks.targets import spread
from mlcnn import engines, zoo

__all__ = ["main"]

LIMIT = 0.97


def _network(settings: Sequence[Setting], options: argparse.Namespace) -> list[Measured]:
    """All settings of one network in which something was fused."""
    results: dict[Setting, list[dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(settings, Path(folder))
        # Where nothing was fused both variants are the same network.
        fused = {s: files for s, files in prepared.items() if "fused" in files.files}
        for setting, result in rounds(
            fused,
            processes=options.processes,
            budget_s=options.seconds,
            processor_time=options.processor_time,
            variants=("reordered", "fused"),
        ):
            results.setdefault(setting, []).append(result)
            tell(setting, result)
    return [measure(setting, parts) for setting, parts in results.items()]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, "regression")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=list(zoo.names()))
    quick = [name for name in engines.available() if name != "torch-compile"]
    parser.add_argument("--engines", type=split, default=quick)
    parser.add_argument("--batches", type=split, default=["1", "8"])
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring per process")
    options = parser.parse_args()
    found: list[Measured] = []
    untouched = 0
    for network in options.networks:  # one at a time: their files are large
        settings = [
            Setting(network, engine, int(batch))
            for engine in options.engines
            for batch in options.batches
        ]
        mine = _network(settings, options)
        untouched += len(settings) - len(mine)
        found += mine
        write(options, {"limit": LIMIT, "results": [item.to_json() for item in found]})
    found.sort(key=lambda item: item.ratio)
    rows = [
        [
            f"{item.setting.network}, batch {item.setting.batch}, {item.setting.engine}",
            f"{item.ratio:.3f}",
            spread(item.ratios),
            "" if item.ratio >= LIMIT else item.reason[:60] or f"under {LIMIT}",
        ]
        for item in found
    ]
    show("fused over reordered, worst first", ["network", "ratio", "processes", ""], rows)
    print(f"{untouched} settings with nothing to fuse; results: {options.out}")
    if any(not item.ratio >= LIMIT for item in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
