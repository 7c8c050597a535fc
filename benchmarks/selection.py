"""What selective activation saves of a trained network, beside exits, static masks and others.

The search of ``mlcnn skip --method select``, with several budgets of one search: which channels
matter is found out, and every setting tried, once.

    python -m benchmarks.selection --weights resnet20.npz --data cifar10
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import mlcnn
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.skipping.selecting import Selecting
from mlcnn.api.skipping.work import Candidate, Work
from mlcnn.api.skipping.yardsticks import yardsticks
from mlcnn.frontier import Point
from mlcnn.training.intervals import points

__all__ = ["main", "work_on"]


def _quiet(stage: str, done: int, total: int) -> None:
    del stage, done, total


def _silent(line: str) -> None:
    del line


def work_on(
    given: argparse.Namespace, options: mlcnn.SkipOptions, say: Callable[[str], None]
) -> Work:
    """The network, images and accelerator that a command line names."""
    data, normal, _ = ImageOptions().open(given.data, given.network)
    model = mlcnn.load(given.network, weights=given.weights, image_shape=data.image_shape)
    model = mlcnn.api.rewrite(model, "fold-batch-norm").model
    machines = mlcnn.EvaluateOptions((given.on,), batch=1).load()
    return Work(model, data, normal, options, machines, False, _quiet, say)


def _candidates(search: Selecting) -> Iterator[Candidate]:
    """What was found within a budget, and what it has to beat."""
    found, both = search.found(), search.with_exit()
    yield search.candidate(found)
    if both is not None:
        yield search.candidate(both)
    yield from search.exit_alone()
    yield from yardsticks(search.work, search.parts, found.selection, found.cost)


def _told(point: Point, original: Point) -> str:
    """A line: costs over the original's, and accuracy against it."""
    parts = [f"  {point.told:60}"]
    for name, cost in point.costs.items():
        whole = original.costs[name].mean
        shares = (cost.mean / whole, cost.sd / whole, cost.p95 / whole, cost.worst / whole)
        parts.append("{} {:.3f} (sd {:.3f}, p95 {:.3f}, most {:.3f})".format(name, *shares))
    if point.test_change is not None:
        parts.append(points(point.test_change))
    return "  ".join(parts)


def main() -> None:
    """Print what each way costs and loses, for each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--on", default="mlcnn-fp32", help="accelerator")
    parser.add_argument("--objective", default="energy", help="energy or multiplications")
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0, 5.0])
    given = parser.parse_args()
    options = mlcnn.SkipOptions(objective=given.objective, method="select")
    work = work_on(given, options, _silent)
    parts = work.parts()
    search = Selecting.of(work, parts)
    before = {p: work.says(work.model, getattr(parts, p)).right for p in ("check", "test")}
    original = work.original(before, parts)
    print(f"{len(parts.test):,} images nothing was chosen on: {100 * before['test'].mean():.2f} %")
    for budget in given.budgets:
        print(f"budget {budget:g} points", flush=True)
        for item in _candidates(search.within(budget)):
            print(_told(work.point(item, before, parts), original), flush=True)


if __name__ == "__main__":
    main()
