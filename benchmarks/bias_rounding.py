"""How many codes ONNX Runtime's rounding of biases changes (its `WeightBiasQuantization`).

A network is calibrated with biases in floats, and in codes as `mlcnn quantize` stores them. Both
run with that transformation and without it, and the codes of every value are compared, on the same
images. What one layer changes, the next ones read: so the share grows with the depth.

python -m benchmarks.bias_rounding resnet20 --weights FILE.npz --data FOLDER_OF_CIFAR10_BINARY
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from mlcnn import training, zoo
from mlcnn.graph import save
from mlcnn.training.quantisation import Setting, calibrate

__all__ = ["WITHOUT_ROUNDING", "codes_of", "main"]

WITHOUT_ROUNDING = ["WeightBiasQuantization"]


def codes_of(path: Path, names: list[str], images: np.ndarray, off: list[str]) -> list[np.ndarray]:
    """The values of these names in ONNX Runtime, without the transformations that are off."""
    proto = onnx.load(path)
    known = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        proto.SerializeToString(), options, ["CPUExecutionProvider"], disabled_optimizers=off
    )
    return session.run(names, {session.get_inputs()[0].name: images})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    model = zoo.load(given.network, weights=given.weights)
    data = training.open_data(given.data)
    normal, _ = training.normal_for(data.training, zoo.describe(given.network))
    parts = (normal.apply(p.first(256).images) for p in (data.calibration, data.validation))
    tests = normal.apply(data.test.first(given.images).images)
    calibration, validation = parts
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for kind, rounded in (("floats", False), ("codes", True)):
        path = given.folder / f"{given.network}-biases-in-{kind}.onnx"
        chosen = Setting(
            observer="mse",
            bias_correction=False,
            sensitivity=False,
            rounded_biases=rounded,
        )
        save(calibrate(model, calibration, validation, chosen).model, path)
        nodes = onnx.load(path).graph.node
        names = [node.output[0] for node in nodes if node.op_type == "QuantizeLinear"]
        found[kind] = {
            label: codes_of(path, names, tests, off)
            for label, off in (("on", []), ("off", WITHOUT_ROUNDING))
        }
    pairs = {
        "biases in floats: on against off": (found["floats"]["on"], found["floats"]["off"]),
        "biases in codes: on against off": (found["codes"]["on"], found["codes"]["off"]),
        "on: biases in floats against codes": (found["floats"]["on"], found["codes"]["on"]),
    }
    for label, (first, second) in pairs.items():
        shares = [float((a != b).mean()) for a, b in zip(first, second, strict=True)]
        print(
            f"{given.network} {label}: {100 * np.mean(shares):.4f} % of codes differ "
            f"(first layer {100 * shares[1]:.4f}, second {100 * shares[2]:.4f}, most "
            f"{100 * max(shares):.4f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
