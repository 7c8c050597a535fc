"""Top-1 accuracy of a trained network in every engine, before and after the exact passes.

python -m benchmarks.accuracy resnet20 --weights FILE.npz --data FOLDER_OF_CIFAR10_BINARY
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from mlcnn import engines, zoo
from mlcnn.passes import pipeline
from mlcnn.training import accuracy, load_dataset

__all__ = ["main"]

_BATCH = 100


def main() -> None:
    """Measure and print; exit 1 if the accuracy differs anywhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="cifar10")
    names = [name for name in engines.available() if name != "torch-compile"]
    parser.add_argument("--engines", nargs="+", default=names)
    options = parser.parse_args()
    normalisation = zoo.describe(options.network).normalisation
    images = load_dataset(options.dataset, options.data, "test")
    inputs = images.normalised(normalisation.mean, normalisation.std)
    before = zoo.load(options.network, weights=options.weights)
    after = pipeline.run(before, pipeline.parse("exact")).model
    found: set[float] = set()
    for engine in options.engines:
        for variant, model in (("original", before), ("exact", after)):
            session = engines.get(engine).prepare(model)
            name = model.graph.inputs[0].name or ""

            def predict(
                batch: np.ndarray, session: engines.Session = session, name: str = name
            ) -> np.ndarray:
                return next(iter(session.run({name: batch}).values()))

            top1 = accuracy(predict, inputs, images.labels, batch_size=_BATCH)
            found.add(round(top1, 4))
            print(f"{options.network} {engine:12} {variant:9} {100 * top1:.2f} %", flush=True)
    if len(found) > 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
