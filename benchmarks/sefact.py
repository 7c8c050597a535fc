"""SeFAct's parts together on a trained network: 5 bits in early layers, 8 elsewhere, and one exit.

Nothing is trained but heads. The widths are given and the exit is chosen within what they leave of
each budget, so that a run takes minutes; ``mlcnn skip --method bits+exit`` searches for both.

    python -m benchmarks.sefact --data cifar10 --weights resnet20.npz -o sefact.json
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import mlcnn
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.narrow_exits import exits_of
from mlcnn.api.narrowing import Narrowed, point_of
from mlcnn.api.skipping import Parts, Work
from mlcnn.frontier import Frontier, Point
from mlcnn.training import Data
from mlcnn.training.quantisation.widths import Narrowing, Widths, narrowing

_MACHINES = ("dcnn-int8-scaled", "dcnn-int8-packed", "dcnn-int16")
_FEW, _WHOLE = 5, 8


def early(made: Narrowing, prefixes: Sequence[str], bits: int = _FEW) -> Widths:
    """Few bits in the layers whose names begin so, and 8 in all others.

    Args:
        made: the network.
        prefixes: of layers' names.
        bits: how few.
    """

    def of(layer: str) -> int:
        return bits if layer.startswith(tuple(prefixes)) else _WHOLE

    whole = made.whole
    inputs = {value: max(map(of, made.readers(value))) for value in whole.inputs}
    return Widths({name: of(name) for name in whole.weights}, inputs)


def parts_of(data: Data, counts: Sequence[int]) -> Parts:
    """Images that choose, check and are reported, all of the test images; in one order.

    Args:
        data: labelled images.
        counts: for heads; that choose; that check; that are reported.
    """
    heads, *others = counts
    order = np.random.default_rng(0).permutation(len(data.test))
    ends = np.cumsum([0, *others])
    found = [
        data.test.chosen(np.isin(np.arange(len(order)), order[first:last]), data.test.name)
        for first, last in itertools.pairwise(ends)
    ]
    return Parts(data.training.first(heads), *found)


def main() -> None:
    """Run it, and write a record for each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--early", nargs="+", default=["layer1", "layer2"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[1.0, 5.0])
    parser.add_argument("--images", nargs=4, type=int, default=[10_000, 3000, 2000, 5000])
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    data, normal, _ = ImageOptions().open(given.data, given.network)
    model = mlcnn.load(given.network, weights=given.weights, image_shape=data.image_shape)
    model = mlcnn.api.rewrite(model, "fold-batch-norm").model
    machines = mlcnn.EvaluateOptions(_MACHINES, batch=1).load()
    options = mlcnn.SkipOptions(objective="energy", method="bits+exit")
    work = Work(model, data, normal, options, machines, False, lambda *_: None, print)
    parts = parts_of(data, given.images)
    made = narrowing(model, normal.apply(parts.heads.images[:512]), progress=work.tell)
    widths = early(made, given.early)
    few = made.with_widths(widths)
    found = Narrowed(widths, few, work.says(few, parts.choose), work.says(few, parts.check))
    ends = [work.says(model, part) for part in (parts.choose, parts.check)]
    before = {"check": ends[1].right, "test": work.says(model, parts.test).right}
    original = work.original(before, parts)
    lost = max(float(a.right.mean() - b.right.mean()) for a, b in zip(
        ends, (found.choose, found.check), strict=True))  # fmt: skip
    inner = replace(work, model=few)
    places = inner.places(parts)
    records = [_record(0.0, original, point_of(work, parts, before, found))]
    for budget in given.budgets:
        left = replace(options, max_drop=budget - 100 * max(lost, 0.0))
        with_budget = replace(inner, options=left)
        points = exits_of(with_budget, parts, found, before, places, most=1)
        records += [_record(budget, original, point) for _, point in points]
    given.out.write_text(json.dumps(records, indent=1) + "\n")


def _record(budget: float, original: Point, point: Point) -> dict[str, object]:
    done = mlcnn.api.dynamic.Dynamic  # what `mlcnn skip --json` prints, less the curve
    frontier = Frontier(original, (point,), "energy_pj")
    record = done("resnet20", None, None, point, frontier).to_json()  # pyright: ignore
    del record["frontier"]
    return {"budget": budget, **record}


if __name__ == "__main__":
    main()
