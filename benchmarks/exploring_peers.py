"""``explore`` beside other searches of a network on the designs of a template.

All search for the least energy times latency under an area budget, score mappings by one evaluator
and draw them by one sampler. ``run`` writes a curve for each search, area and seed, and leaves out
those that the file has; ``tables`` prints what they come to at equal processor time and at equal
evaluations, over the best value known, and what ours need for what others end with. Of curves
that are in several files the last file's counts, so that one search may be run again by itself.

    python -m benchmarks.exploring_peers run peers.csv --areas 1 3 --seeds 10 --seconds 25
    python -m benchmarks.exploring_peers run again.csv --peers descent guided --unlimited
    python -m benchmarks.exploring_peers tables peers.csv again.csv --yardstick yardstick.csv

An evaluation is a mapping of one layer that is scored; of exact mapping, a mapping or the outer
part of one. Times are of this process; what is imported and compiled before is left out.
"""

import argparse
import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.exploration.curves import Curve, append, at_work, merged, read, to_reach
from benchmarks.exploration.peers import PEERS
from benchmarks.exploration.runs import Point, Problem, Run
from benchmarks.exploring import layers_of
from mlcnn.codesign.compiled import kernel
from mlcnn.codesign.exploration import Space, load_template
from mlcnn.engines.processor import named

__all__ = ["main"]

_UM2_PER_MM2 = 1e6
_OURS, _GENETIC, _DESCENT = ("guided", "relaxed"), "nested-ga", "descent"
_EVALUATIONS = (5e4, 1e5, 2e5, 5e5, 1e6, 2e6)
_SECONDS = (2.0, 5.0, 10.0, 15.0, 20.0, 25.0)


def _run(path: Path, space: Space, given: argparse.Namespace) -> None:
    """Run what the file does not have."""
    known = {one.key for one in read(path)} if path.exists() else set()
    kernel()  # is compiled once for all, as a part of the installation
    groups, name = layers_of(given.network), named()
    limit = math.inf if given.unlimited else given.seconds
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for area in given.areas:
            for peer in given.peers:
                if (peer, area, seed) in known:
                    continue
                run = Run(seed, limit)
                PEERS[peer](Problem(space, groups, area * _UM2_PER_MM2), run)
                curve = Curve(peer, area, seed, run.ended(), not run.over, name)
                append(path, curve)
                end = curve.points[-1]
                print(
                    f"{peer}, {area:g} mm2, seed {seed}: {end.edp:.5e} pJ x cycles, "
                    f"{end.designs} designs, {end.evaluations} evaluations, "
                    f"{end.cpu_seconds:.1f} CPU-seconds",
                    flush=True,
                )


def _tables(given: argparse.Namespace) -> None:
    curves = merged([read(path) for path in given.paths])
    print("processor:", "; ".join(sorted({one.processor for one in curves})))
    for area in sorted({one.area_mm2 for one in curves}):
        some = [one for one in curves if one.area_mm2 == area]
        best = _best(given.yardstick, area, some)
        shown: tuple[tuple[str, Sequence[float], Callable[[Point], float]], ...] = (
            ("CPU-seconds", given.at_seconds, lambda one: one.cpu_seconds),
            ("evaluations", given.at_evaluations, lambda one: one.evaluations),
        )
        for what, steps, of in shown:
            print(f"\n{area:g} mm2: EDP over {best:.5e} pJ x cycles, by {what}\n")
            _print_table(some, best, steps, of)
        print()
        for ours in _OURS:
            _print_reached(some, ours)


def _print_table(
    curves: Sequence[Curve], best: float, steps: Sequence[float], of: Callable[[Point], float]
) -> None:
    """Print median and quartiles of each search, as Markdown."""
    print("| search | seeds |", *(f"{step:,.0f} |" for step in steps))
    print("|---" * (2 + len(steps)) + "|")
    for peer in PEERS:
        mine = [one for one in curves if one.peer == peer]
        if mine:
            print(f"| {peer} | {len(mine)} |", *(f"{c} |" for c in at_work(mine, best, steps, of)))


def _best(yardstick: Path | None, area: float, curves: Sequence[Curve]) -> float:
    """The best value known: of the yardstick's designs, if there is one, or of all curves."""
    values = [one.final for one in curves]
    if yardstick is not None:
        with yardstick.open(encoding="utf-8", newline="") as file:
            values = [
                float(row["energy_pj"]) * float(row["latency_cycles"])
                for row in csv.DictReader(file)
                if float(row["area_um2"]) <= area * _UM2_PER_MM2
            ]
    return min(values)


def _print_reached(curves: Sequence[Curve], name: str) -> None:
    """Say what one of ours needs until what others end with."""
    ours = [one for one in curves if one.peer == name]
    genetic = [one for one in curves if one.peer == _GENETIC]
    descents = [one for one in curves if one.peer == _DESCENT]
    mine, theirs = to_reach(ours, genetic, lambda one: one.cpu_seconds)
    if mine:
        ratios = [own / other for own, other in zip(mine, theirs, strict=True)]
        print(
            f"{_GENETIC}'s final value, {len(mine)} seeds: {name} after {median(mine):.1f} "
            f"CPU-seconds (median), {_GENETIC} after {median(theirs):.1f}; ratio "
            f"{median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}"
        )
    mine, theirs = to_reach(ours, descents, lambda one: one.designs)
    if mine:
        total = median(one.points[-1].designs for one in descents)
        print(
            f"{_DESCENT}'s final value, {len(mine)} seeds: {name} after {median(mine):g} designs "
            f"(median), {_DESCENT} after {median(theirs):g} of {total:g}; fewer in "
            f"{sum(own < other for own, other in zip(mine, theirs, strict=True))}, never in "
            f"{sum(map(math.isinf, mine))}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run searches, or print tables of what they came to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.exploring_peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="append curves to a file")
    run.add_argument("path", type=Path)
    run.add_argument("--peers", nargs="+", choices=tuple(PEERS), default=tuple(PEERS))
    run.add_argument("--areas", type=float, nargs="+", default=[1.0, 3.0], help="in mm2, or inf")
    run.add_argument("--seeds", type=int, default=10)
    run.add_argument("--first-seed", type=int, default=0)
    run.add_argument("--seconds", type=float, default=25.0, help="of processor time for each")
    run.add_argument("--unlimited", action="store_true", help="until a search ends by itself")
    run.add_argument("--network", default="resnet18")
    run.add_argument("--template", default="gemmini")
    run.add_argument("--space")
    run.add_argument("--range", action="append", default=[], dest="ranges")
    tables = commands.add_parser("tables", help="print what the curves say")
    tables.add_argument("paths", type=Path, nargs="+")
    tables.add_argument("--yardstick", type=Path, help="of benchmarks.exploring")
    tables.add_argument("--at-seconds", type=float, nargs="+", default=_SECONDS)
    tables.add_argument("--at-evaluations", type=float, nargs="+", default=_EVALUATIONS)
    given = parser.parse_args(arguments)
    if given.command == "tables":
        _tables(given)
    else:
        space = load_template(given.template).space(given.space, given.ranges)
        _run(given.path, space, given)


if __name__ == "__main__":
    main()
