"""The integer model of the hardware against ONNX Runtime, layer by layer, and its accuracy.

LeNet-5 is fused and quantised with exact means, with rounded ones, and quantised as it is. Every
layer of the hardware runs on the codes that ONNX Runtime has in front of it, and on its own; the
images are those of the test set. ONNX Runtime computes in integers, and without saturation.

python -m benchmarks.rtl_integers --data FOLDER_OF_CIFAR10_BINARY
"""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

import mlcnn
from benchmarks.results import Row, arguments, show, write
from mlcnn import api, graph, training, zoo
from mlcnn.rtl.integer import run_layer
from mlcnn.rtl.lowering import lower
from mlcnn.rtl.network import HostStep, IntegerNetwork, run_network
from mlcnn.training import Data

__all__ = ["main"]

_COLUMNS = ("network", "layer", "codes", "off by 1, %", "most off", "off on its own way, %")
_ACCURACY = ("network", "images", "integer, %", "onnxruntime, %", "floats, %", "same class, %")
_VARIANTS = {"fused, exact means": "exact", "fused, rounded means": "rounded", "not fused": None}

Values = dict[str, NDArray[np.generic]]


def in_runtime(model: ir.Model, names: list[str], images: NDArray[np.float32]) -> Values:
    """Values of a network in ONNX Runtime, products of codes added up exactly."""
    copied = graph.clone(model)
    values = {value.name: value for node in copied.graph for value in node.outputs}
    copied.graph.outputs[:] = [values[name] for name in names]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    proto = graph.to_proto(copied).SerializeToString()
    session = ort.InferenceSession(proto, options, ["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def layer_rows(
    name: str, model: ir.Model, network: IntegerNetwork, images: NDArray[np.float32]
) -> list[Row]:
    """A row for each layer whose input and output the network rounds."""
    made = {value.name: value for node in model.graph for value in node.outputs}
    coded = [
        step.output
        for step in network.steps
        if step.output in made and made[step.output].dtype == ir.DataType.UINT8
    ]
    given = in_runtime(model, [network.source, *coded], images)
    found = {name: values.astype(np.int64) for name, values in given.items()}
    own = run_network(network, images).codes
    rows: list[Row] = []
    for step in network.steps:
        if isinstance(step, HostStep):
            if step.output not in found and found.keys() >= {*step.sources}:
                found[step.output] = step.run(*(found[name] for name in step.sources))
            continue
        if step.output not in given or step.source not in found:
            continue
        codes, expected = found[step.source].reshape(-1, *step.layer.shape), found[step.output]
        expected = expected.ravel()
        off = np.abs(run_layer(step.layer, codes).ravel() - expected)
        apart = own[step.output].ravel() != expected
        rows.append(
            {
                "network": name,
                "layer": step.name,
                "codes": off.size,
                "off by 1, %": 100 * float((off == 1).mean()),
                "most off": int(off.max()),
                "off on its own way, %": 100 * float(apart.mean()),
            }
        )
    return rows


def accuracy_row(
    name: str,
    models: tuple[ir.Model, ir.Model],
    network: IntegerNetwork,
    tests: training.ImageSet,
    images: NDArray[np.float32],
) -> Row:
    """Accuracy of the integer model, of ONNX Runtime, and of the network in floats."""
    before, model = models
    output = model.graph.outputs[0].name or ""
    classes = {
        "integer, %": run_network(network, images).outputs.argmax(1),
        "onnxruntime, %": in_runtime(model, [output], images)[output].argmax(1),
    }
    given = before.graph.outputs[0].name or ""
    classes["floats, %"] = in_runtime(before, [given], images)[given].argmax(1)
    same = classes["integer, %"] == classes["onnxruntime, %"]
    return {
        "network": name,
        "images": len(images),
        **{key: 100 * float((each == tests.labels).mean()) for key, each in classes.items()},
        "same class, %": 100 * float(same.mean()),
    }


def _quantised(data: Data, means: str | None) -> tuple[ir.Model, ir.Model]:
    setting = api.Setting(
        observer="mse",
        sensitivity=False,
        means=api.Means(means or "exact"),
    )
    options = mlcnn.QuantizeOptions(
        setting, fuse=means is not None, engines=("onnxruntime",), test=100
    )
    found = mlcnn.quantize("lenet5", data, options)
    return found.before, found.model


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, "rtl_integers")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()
    data = training.open_data(given.data)
    normal, _ = training.normal_for(data.training, zoo.describe("lenet5"))
    tests = data.test.first(given.images)
    images = normal.apply(tests.images)
    ranges = normal.apply(data.calibration.first(64).images)
    layers: list[Row] = []
    accuracies: list[Row] = []
    for name, means in _VARIANTS.items():
        models = _quantised(data, means)
        network = lower(models[1], ranges)
        layers += layer_rows(name, models[1], network, images)
        accuracies.append(accuracy_row(name, models, network, tests, images))
    for title, columns, rows in (("codes", _COLUMNS, layers), ("accuracy", _ACCURACY, accuracies)):
        show(f"{title}, {len(images)} images", columns, [[*map(_cell, r.values())] for r in rows])
    write(given, {"layers": layers, "accuracies": accuracies})


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
