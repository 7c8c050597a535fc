"""Every design of a template mapped, and how near to the best of them ``explore`` comes.

The first makes the yardstick, a row a design, and goes on where it was interrupted; the second
explores under area budgets with several seeds and compares.

    python -m benchmarks.exploring yardstick yardstick.csv --max-area 3
    python -m benchmarks.exploring compare yardstick.csv --areas 0.3 0.64 1 2 3 --seeds 10
    python -m benchmarks.exploring prove --network vgg16 --areas 1 3

``prove`` needs no yardstick: it compares with the best that ``explore --search proof`` finds, which
no other design is below.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.mapping import RESNET18
from mlcnn.api.nests import NetworkOptions, network_nests
from mlcnn.codesign.exploration import (
    Candidates,
    Evaluation,
    Here,
    Limit,
    LoopNests,
    Quantity,
    Question,
    Relaxing,
    Space,
    Strategy,
    Work,
    evaluate_network,
    load_template,
)
from mlcnn.codesign.layer_searches import LayerGroup, grouped
from mlcnn.journal import Journal
from mlcnn.workload import loop_nest

__all__ = ["COUNTS", "layers_of", "main", "resnet18"]

COUNTS = (1, 4, 1, 1, 3, 1, 1, 3, 1, 1, 3, 1)
"""How many layers of ResNet-18 are as each of ``RESNET18``."""
_UM2_PER_MM2 = 1e6
_CLOSE = 0.01
_RESULTS = ("area_um2", "energy_pj", "latency_cycles", "edp_bound", "cpu_seconds")


def resnet18() -> tuple[LayerGroup, ...]:
    """The distinct layers of ResNet-18 at 224 x 224, batch 1."""
    groups: list[LayerGroup] = []
    for layer, count in zip(RESNET18, COUNTS, strict=True):
        names = tuple(f"{layer.name}.{number}" for number in range(count))
        groups.append(LayerGroup(loop_nest(layer), names))
    return tuple(groups)


def layers_of(network: str) -> tuple[LayerGroup, ...]:
    """The distinct layers of a network, batch 1; of ResNet-18 those at 224 x 224."""
    if network == "resnet18":
        return resnet18()
    return grouped(network_nests(network, NetworkOptions(batch=1))[0])


def _yardstick(groups: Sequence[LayerGroup], path: Path, space: Space, max_area: float) -> None:
    names = [one.name for one in space.parameters]
    known = {tuple(row[name] for name in names) for row in _rows(path)} if path.exists() else set()
    like: list[Evaluation] = []
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*names, *_RESULTS], lineterminator="\n")
        if not known:
            writer.writeheader()
        for design in space:
            values = {name: f"{value:g}" for name, value in space.values(design).items()}
            machine = space.architecture(design)
            area = machine.area_um2 or 0.0
            if tuple(values.values()) in known or area > max_area * _UM2_PER_MM2:
                continue
            begun = time.process_time()
            found = evaluate_network(groups, machine, like=like)
            like = [found, *like[:1]]
            seconds = time.process_time() - begun
            results = (area, found.energy_pj, found.latency_cycles, found.edp_bound)
            told = (*(repr(one) for one in results), f"{seconds:.2f}")
            writer.writerow({**values, **dict(zip(_RESULTS, told, strict=True))})
            file.flush()


def _compare(
    groups: tuple[LayerGroup, ...],
    rows: Sequence[dict[str, str]],
    space: Space,
    areas: Sequence[float],
    *,
    seeds: int,
    search: Strategy,
) -> None:
    """Explore under area budgets, and print how far from the best it ends.

    Args:
        groups: the network.
        rows: of the yardstick; without any the best is proven first.
        space: the designs.
        areas: largest areas in mm2.
        seeds: runs for each area.
        search: how designs are chosen.
    """
    print("area mm2, seeds: within 1 %, worst gap; designs; CPU-seconds (medians, largest)")
    for area in areas:
        limit = Limit(Quantity.AREA, area * _UM2_PER_MM2)
        if rows:
            best = min(_edp(row) for row in rows if float(row["area_um2"]) <= limit.most)
        else:
            best, designs, seconds = _run(groups, space, limit, 0, Strategy.PROOF)
            print(f"{area:g}: {best:.6e} proven with {designs} designs, {seconds:.1f} CPU-seconds")
        runs = [_run(groups, space, limit, seed, search) for seed in range(seeds)]
        gaps = [edp / best - 1.0 for edp, _, _ in runs]
        close = sum(gap <= _CLOSE for gap in gaps)
        scored, used = ([run[n] for run in runs] for n in (1, 2))
        print(
            f"{area:g}, {seeds}: {close} of {seeds}, {max(gaps):.2%}; {median(scored):g}, "
            f"{max(scored):g}; {median(used):.1f}, {max(used):.1f}",
            flush=True,
        )


def _edp(row: dict[str, str]) -> float:
    return float(row["energy_pj"]) * float(row["latency_cycles"])


def _run(
    groups: tuple[LayerGroup, ...], space: Space, limit: Limit, seed: int, search: Strategy
) -> tuple[float, int, float]:
    """The least energy times latency of one exploration, designs mapped, and CPU-seconds."""
    begun = time.process_time()
    network = LoopNests(groups)
    candidates = Candidates.of(space, network, [limit])
    question = Question(space, (Quantity.EDP,), (limit,), search, seed)
    relaxing = Relaxing(groups)
    with Journal(None, {}) as journal:
        workers = Here(network)
        work = Work(question, candidates, journal, workers, lambda _: None, relaxing=relaxing)
        found = work.explored("")
    return found.front[0].found.edp, found.scored, time.process_time() - begun


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the yardstick, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("yardstick", "compare", "prove"))
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--template", default="gemmini")
    parser.add_argument("--space")
    parser.add_argument("--range", action="append", default=[], dest="ranges")
    parser.add_argument("--max-area", type=float, default=float("inf"))
    parser.add_argument("--areas", type=float, nargs="+", default=[0.3, 0.64, 1.0, 2.0, 3.0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--search", choices=[str(one) for one in Strategy], default="guided")
    given = parser.parse_args(arguments)
    space = load_template(given.template).space(given.space, given.ranges)
    if given.path is None and given.what != "prove":
        parser.error(f"{given.what} needs the path of a yardstick")
    groups = layers_of(given.network)
    if given.what == "yardstick":
        _yardstick(groups, given.path, space, given.max_area)
    else:
        rows = _rows(given.path) if given.what == "compare" else []
        search = Strategy(given.search)
        _compare(groups, rows, space, given.areas, seeds=given.seeds, search=search)


if __name__ == "__main__":
    main()
