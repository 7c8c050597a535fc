"""Run and time networks: ONNX Runtime, OpenVINO, kernels of our own, torch eager and compiled."""

from mlcnn.engines.arrays import Signature, fix_shapes, fixed_shapes, random_inputs, signatures
from mlcnn.engines.choose import MeasuredChooser
from mlcnn.engines.engine import Array, Arrays, Device, Engine, LayerAlgorithm, Session
from mlcnn.engines.latency import Bench, BenchResult, BenchSkipped, bench
from mlcnn.engines.never_slower import NeverSlower, Plain
from mlcnn.engines.package import weight_bytes
from mlcnn.engines.precision import with_precision
from mlcnn.engines.registry import available, get, names
from mlcnn.engines.timing import Clock, Ratio, Timing, interleave, noise, ratio

__all__ = [
    "Array",
    "Arrays",
    "Bench",
    "BenchResult",
    "BenchSkipped",
    "Clock",
    "Device",
    "Engine",
    "LayerAlgorithm",
    "MeasuredChooser",
    "NeverSlower",
    "Plain",
    "Ratio",
    "Session",
    "Signature",
    "Timing",
    "available",
    "bench",
    "fix_shapes",
    "fixed_shapes",
    "get",
    "interleave",
    "names",
    "noise",
    "random_inputs",
    "ratio",
    "signatures",
    "weight_bytes",
    "with_precision",
]
