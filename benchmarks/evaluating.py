"""Time of the accelerator models: one large network on one machine, one network on many.

Of engines of memory sub-arrays the second alone: `--machines imce-stt`.

Each in fresh processes, nothing cached before. Timed is the search of the fastest execution and
tiling of every layer with its traffic and energy (one machine) or its cycles (many machines);
importing, loading the network and reading the machines' descriptions are not.
"""

import time
from dataclasses import replace
from itertools import product
from statistics import median
from typing import Any

import numpy as np

from benchmarks import fresh
from benchmarks.results import arguments, show, write
from benchmarks.targets import spread
from mlcnn import zoo
from mlcnn.accelerators import evaluate_layer, load_accelerator, load_technology, network_tasks
from mlcnn.accelerators.array import load_array, sweep_cycles
from mlcnn.accelerators.in_memory import InMemoryEngine, load_engine, sweep
from mlcnn.reproduce.paper_networks import paper_tasks
from mlcnn.workload import Numbers

__all__ = ["main"]

TARGETS_S = {"one": 2.0, "many": 60.0, "many_engines": 60.0}


def one(machine: str) -> dict[str, Any]:
    """In a fresh process: every layer of ResNet-50 at 224 on one machine, batch 1."""
    tasks = network_tasks(zoo.load("resnet50-224"))
    accelerator, technology = load_accelerator(machine), load_technology()
    start = time.perf_counter()
    costs = [evaluate_layer(task, accelerator, technology) for task in tasks]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "layers": len(costs), "cycles": sum(c.cycles for c in costs)}


def many(machine: str) -> dict[str, Any]:
    """In a fresh process: VGG-16, batch 16, on 25 x 20 x 20 variants of a machine."""
    base, tasks = load_array(machine), paper_tasks("vgg16", 16)
    grid = product(range(4, 104, 4), range(24, 144, 6), np.linspace(4, 128, 20))
    machines = [
        replace(
            base, slices=s, input_bytes=b * 512, weight_bytes=b * 512, dram_bytes_per_cycle=float(d)
        )
        for s, b, d in grid
    ]
    start = time.perf_counter()
    cycles = sweep_cycles(tasks, machines)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "variants": len(machines),
        "layers": len(tasks),
        "impossible": int(np.isinf(cycles).any(axis=1).sum()),
    }


def many_engines(machine: str) -> dict[str, Any]:
    """In a fresh process: VGG-16 in weights of 1 bit and inputs of 4, on 10,000 variants."""
    base, technology = load_engine(machine), load_technology()
    numbers = Numbers(1, 4)
    tasks = [
        replace(task, layer=replace(task.layer, numbers=numbers), loaded_bits=4, written_bits=4)
        for task in paper_tasks("vgg16", 1)
    ]
    grid = product(
        range(1, 51), (1, 2, 4, 8, 16), (256, 512, 768, 1024), np.geomspace(2e4, 2e6, 10)
    )
    machines = [
        replace(base, arrays=a, segments=s, bus_bits=w, buffer_bytes=int(b)) for a, s, w, b in grid
    ]
    start = time.perf_counter()
    cycles, _ = sweep(tasks, machines, technology)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "variants": len(machines),
        "layers": len(tasks),
        "impossible": int(np.isinf(cycles).any(axis=1).sum()),
    }


def _kinds(machine: str) -> tuple[str, ...]:
    engine = isinstance(load_accelerator(machine), InMemoryEngine)
    return ("many_engines",) if engine else ("one", "many")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, "evaluating")
    parser.add_argument("--machines", default="mlcnn-fp32,dcnn-fp32", help="names, by commas")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes a figure")
    options = parser.parse_args()
    rows: list[list[str]] = []
    found: list[dict[str, Any]] = []
    machines = options.machines.split(",")
    for machine, what in ((name, kind) for name in machines for kind in _kinds(name)):
        runs = [
            fresh.call(f"benchmarks.evaluating:{what}", machine=machine)
            for _ in range(options.repeats)
        ]
        seconds = [run["seconds"] for run in runs]
        found.append({"machine": machine, "what": what, "runs": runs, "target_s": TARGETS_S[what]})
        last = runs[-1]
        work = (
            f"resnet50-224, {last['layers']} layers"
            if what == "one"
            else f"vgg16, {last['layers']} layers, {last['variants']:,} variants"
        )
        rows.append(
            [
                f"{work}, {machine}",
                f"{median(seconds):.2f}",
                spread(seconds),
                f"{TARGETS_S[what]:g}",
            ]
        )
    show("accelerator models", ["work", "seconds, median", "spread", "target"], rows)
    write(options, {"results": found})
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
