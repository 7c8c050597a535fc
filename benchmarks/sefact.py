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
import onnx_ir as ir

import mlcnn
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.dynamic import Dynamic
from mlcnn.api.skipping.exits import Search
from mlcnn.api.skipping.narrow_exits import exits_of
from mlcnn.api.skipping.narrowing import Narrowed, point_of
from mlcnn.api.skipping.work import Parts, Work
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
    choose, check, test = found
    return Parts(data.training.first(heads), choose, check, test)


def _quiet(stage: str, done: int, total: int) -> None:
    del stage, done, total


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
    work = Work(model, data, normal, options, machines, False, _quiet, print)
    found = records(work, parts_of(data, given.images), given.early, given.budgets)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


def records(
    work: Work, parts: Parts, prefixes: Sequence[str], budgets: Sequence[float]
) -> list[dict[str, object]]:
    """What bits alone come to, and with an exit for each budget that leaves room for one.

    Args:
        work: the network in floats.
        parts: the images.
        prefixes: of the names of layers with few bits.
        budgets: percentage points that may be lost.
    """
    images = work.normal.apply(parts.heads.images[:512])
    made = narrowing(work.model, images, progress=work.tell)
    widths = early(made, prefixes)
    few = made.with_widths(widths)
    says = [[work.says(m, p) for p in (parts.choose, parts.check)] for m in (work.model, few)]
    found = Narrowed(widths, few, *says[1])
    before = {"check": says[0][1].right, "test": work.says(work.model, parts.test).right}
    original = work.original(before, parts)
    pairs = zip(*says, strict=True)
    lost = max(0.0, *(float(a.right.mean() - b.right.mean()) for a, b in pairs))
    inner = replace(work, model=few)
    search = Search(inner, parts, inner.model)
    places = search.places(search.fitted())
    done = [_record(0.0, few, original, point_of(work, parts, before, found))]
    for budget in budgets:
        left = replace(work.options, max_drop=budget - 100 * lost)
        with_budget = replace(inner, options=left)
        for _, made_ in exits_of(with_budget, parts, found, places, most=1):
            point = with_budget.point(made_, before, parts)
            done.append(_record(budget, made_.model, original, point))
    return done


def _record(budget: float, model: ir.Model, original: Point, point: Point) -> dict[str, object]:
    frontier = Frontier(original, (point,), "energy_pj")
    # What `mlcnn skip --json` prints, less the curve.
    record = Dynamic("resnet20", model, model, point, frontier).to_json()
    del record["frontier"]
    return {"budget": budget, **record, "run": "given"}


if __name__ == "__main__":
    main()
