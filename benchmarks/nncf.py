"""NNCF's post-training INT8 beside ``mlcnn quantize``, on the same network and images.

NNCF wants an environment of its own. The first run makes it (about 0.5 GB, from the package index):

    python -m benchmarks.nncf resnet20 --weights FILE.npz --data FOLDER_OF_CIFAR10_BINARY

The network in floats and the calibration images go to the other interpreter as files, and an
OpenVINO network comes back. All are compared in this environment's OpenVINO, one thread: accuracy
on the test images, and latency in turn.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir
import openvino as ov
from numpy.typing import NDArray

from benchmarks.interleaved import clock_of, faster
from benchmarks.results import FOLDER, Row, arguments, show, write
from mlcnn import engines, training, zoo
from mlcnn.graph import save
from mlcnn.reproduce.study.statistics import paired_difference
from mlcnn.training.quantisation import Setting, calibrate, folded

__all__ = ["compiled", "main", "right_images"]

_REQUIRED = ("nncf==3.4.0", f"openvino=={ov.__version__.split('-', maxsplit=1)[0]}")
_BATCH = 100
# Run by the other interpreter: paths of the network, the images, and the result.
_QUANTISE = """
import sys
import nncf, numpy as np, openvino as ov
model = ov.Core().read_model(sys.argv[1])
images = np.load(sys.argv[2])
data = nncf.Dataset([image[None] for image in images])
kind = nncf.TargetDevice.CPU
ov.save_model(
    nncf.quantize(model, data, subset_size=len(images), target_device=kind), sys.argv[3],
    compress_to_fp16=False,
)
"""


def interpreter(folder: Path) -> Path:
    """The Python of the other environment, which is made if it is not there."""
    path = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    found = (
        path.exists()
        and not subprocess.run(  # noqa: S603 - our own interpreter
            [path, "-c", "import nncf, openvino"], capture_output=True, check=False
        ).returncode
    )
    if not found:
        venv.create(folder, with_pip=True, clear=True)
        install = [path, "-m", "pip", "install", "--quiet", *_REQUIRED]
        subprocess.run(install, check=True)  # noqa: S603 - likewise
    return path


def compiled(path: Path, batch: int) -> Callable[[np.ndarray], np.ndarray]:
    """A network in OpenVINO, one thread, for batches of one size.

    Args:
        path: of an ``.onnx`` or ``.xml`` file of one input, images.
        batch: images of a call.
    """
    core = ov.Core()
    model = core.read_model(path)
    model.reshape([batch, *(d.get_length() for d in list(model.input().partial_shape)[1:])])
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", config).create_infer_request()
    return lambda images: request.infer([images], share_outputs=True)[0]


def right_images(path: Path, images: np.ndarray, labels: np.ndarray) -> NDArray[np.bool_]:
    """Which images get their class; what fills no batch is left out."""
    run = compiled(path, _BATCH)
    count = len(images) // _BATCH * _BATCH
    right = [
        run(images[start : start + _BATCH]).argmax(1) == labels[start : start + _BATCH]
        for start in range(0, count, _BATCH)
    ]
    return np.concatenate(right)


def quantised(
    model: ir.Model, calibration: np.ndarray, validation: np.ndarray, other: Path, folder: Path
) -> dict[str, Path]:
    """Files of the network in floats, quantised by NNCF, and by this package."""
    paths = {name: folder / f"{name}.onnx" for name in ("floats", "mlcnn")}
    save(folded(model), paths["floats"])
    images = folder / "images.npy"
    np.save(images, calibration)
    paths["nncf"] = folder / "nncf.xml"
    subprocess.run(  # noqa: S603 - likewise
        [other, "-c", _QUANTISE, paths["floats"], images, paths["nncf"]],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    save(calibrate(model, calibration, validation, Setting()).model, paths["mlcnn"])
    return paths


def latencies(
    paths: Mapping[str, Path], images: np.ndarray, batch: int, budget_s: float, clock: Any
) -> dict[str, list[float]]:
    """Samples of each network in turn, in ms."""
    part = np.ascontiguousarray(images[:batch])
    runs = {name: compiled(path, batch) for name, path in paths.items()}
    runners = {name: partial(run, part) for name, run in runs.items()}
    found = engines.interleave(runners, budget_s=budget_s, clock=clock)
    return {name: list(timing.samples_ms) for name, timing in found.items()}


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__, "nncf")
    parser.add_argument("network")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--environment", type=Path, default=FOLDER / "nncf-environment")
    parser.add_argument("--calibration-images", type=int, default=512)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=6, help="of measuring per batch size")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = _arguments()
    other = interpreter(given.environment)
    model = zoo.load(given.network, weights=given.weights)
    data = training.open_data(given.data)
    normal, _ = training.normal_for(data.training, zoo.describe(given.network))
    test = data.test if given.test_images is None else data.test.first(given.test_images)
    tests = normal.apply(test.images)
    calibration = normal.apply(data.calibration.first(given.calibration_images).images)
    validation = normal.apply(data.validation.first(1024).images)
    with tempfile.TemporaryDirectory() as folder:
        paths = quantised(model, calibration, validation, other, Path(folder))
        right = {name: right_images(path, tests, test.labels) for name, path in paths.items()}
        clock = clock_of(processor_time=given.processor_time)
        times = {
            batch: latencies(paths, tests, batch, given.seconds, clock) for batch in given.batch
        }
    ahead = paired_difference([right["mlcnn"]], [right["nncf"]])
    rows: list[Row] = [
        {"network": given.network, "batch": batch, "ahead": asdict(ahead),
         "accuracy": {name: float(bits.mean()) for name, bits in right.items()},
         "images": len(tests), "calibration": len(calibration), "required": _REQUIRED,
         "ms": {name: median(samples) for name, samples in found.items()},
         "ratio": faster(found, "mlcnn", ["nncf"])}
        for batch, found in times.items()
    ]  # fmt: skip
    write(given, {"rows": json.loads(json.dumps(rows))})
    columns = ("OpenVINO, one thread", *(f"{n}, %" for n in right),
               "mlcnn less nncf, points (95 %)", *(f"{n}, ms" for n in right),
               "mlcnn over nncf, times as fast")  # fmt: skip
    lines = [
        [f"{row['network']}, batch {row['batch']}",
         *(f"{100 * share:.2f}" for share in row["accuracy"].values()),
         f"{100 * ahead.value:.2f} ({100 * ahead.low:.2f} to {100 * ahead.high:.2f})",
         *(f"{row['ms'][name]:.3f}" for name in right), f"{row['ratio']:.2f}"]
        for row in rows
    ]  # fmt: skip
    show(f"post-training INT8, {len(tests)} test images", columns, lines)
    print(f"results: {given.out}")


if __name__ == "__main__":
    main()
