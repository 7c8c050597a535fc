"""Thirty known architectures: their sites, what goes of their multiplications, and what it gains.

    python -m benchmarks.gallery [NAME ...] [--seconds 2] [--keep] [--resume]

The networks are the zoo's and pytorchcv's (extra ``bench``), chosen by how well known they are,
with random weights and statistics. Per network: the pipeline ``exact``, which keeps the function,
and ``mlcnn``, whose result has to be fine-tuned; sites and the share of all multiplications that
goes, in the box form, where nothing hangs on a machine. Then the network as it is and after each of
the two run in turn, each site in the form that is fastest (batch 1, one thread, processor time):
how many times as fast, with the 95 % interval of the median over the rounds. Every network is a row
of a journal that a second run goes on from (``--resume``); ``--seconds 0`` counts without timing.
"""

import warnings
from collections.abc import Sequence

import onnx_ir as ir
import torch

from benchmarks import fresh, outside
from benchmarks.interleaved import core_figures
from benchmarks.results import Row, Rows, repeated, show
from mlcnn import counting, engines, zoo
from mlcnn.engines import MeasuredChooser
from mlcnn.errors import UnsupportedError
from mlcnn.passes import pipeline

__all__ = ["COLUMNS", "ENGINES", "NETWORKS", "TOLD", "examine", "main", "summary"]

ENGINES = ("onnxruntime", "native")
PIPELINES = ("exact", "mlcnn")
CALLED = {"exact": "exact", "mlcnn": "approximate"}

NETWORKS = {
    "lenet5": "LeNet-5",
    "alexnet-224": "AlexNet",
    "vgg16": "VGG-16 for CIFAR",
    "vgg16-224": "VGG-16",
    "vgg19": "VGG-19 for CIFAR",
    "googlenet": "GoogLeNet for CIFAR",
    "pytorchcv:bninception": "BN-Inception",
    "pytorchcv:inceptionv3": "Inception v3",
    "pytorchcv:inceptionv4": "Inception v4",
    "pytorchcv:xception": "Xception",
    "resnet20": "ResNet-20 for CIFAR",
    "resnet18-224": "ResNet-18",
    "resnet50-224": "ResNet-50",
    "pytorchcv:resnet101": "ResNet-101",
    "pytorchcv:preresnet50": "PreResNet-50",
    "pytorchcv:resnext50_32x4d": "ResNeXt-50",
    "pytorchcv:seresnet50": "SE-ResNet-50",
    "pytorchcv:wrn50_2": "Wide ResNet-50-2",
    "densenet_cifar": "DenseNet for CIFAR",
    "pytorchcv:densenet121": "DenseNet-121",
    "pytorchcv:densenet169": "DenseNet-169",
    "pytorchcv:squeezenet_v1_1": "SqueezeNet v1.1",
    "pytorchcv:mobilenet_w1": "MobileNet v1",
    "pytorchcv:mobilenetv2_w1": "MobileNet v2",
    "pytorchcv:mobilenetv3_large_w1": "MobileNet v3",
    "pytorchcv:shufflenet_g3_w1": "ShuffleNet v1",
    "pytorchcv:shufflenetv2_w1": "ShuffleNet v2",
    "pytorchcv:efficientnet_b0": "EfficientNet-B0",
    "pytorchcv:dpn68": "DPN-68",
    "pytorchcv:nasnet_4a1056": "NASNet-A Mobile",
}
"""What they are called, by the name that loads them."""

COLUMNS = ("network", "input", "passes", "sites", "gone", "ONNX Runtime", "`native`")
TOLD = (
    "Batch 1, one thread, processor time, other work on the machine, {}; 95 % interval of the "
    "median over the rounds in brackets: `python -m benchmarks.gallery`.\n"
)
"""What stands above the table, with the dates."""


def _load(name: str) -> ir.Model:
    return outside.load(name, dynamic=False) if ":" in name else zoo.load(name)


def _counted(network: ir.Model, passes: str) -> Row:
    """Sites that are fused in the box form, and the share of the multiplications that goes."""
    result = pipeline.run(network, pipeline.configure(pipeline.parse(passes), form="box"))
    counts = counting.count(result.model)
    return {
        "sites": sum(change.pass_name == "fuse" for change in result.changes),
        "gone": 1 - counts.after.multiplications / counts.before.multiplications,
    }


def _rewritten(network: ir.Model, passes: str, engine: str) -> ir.Model | None:
    """The network with each site in its fastest form; None where no form is faster."""
    chooser = MeasuredChooser(engine, 1, network_bytes=engines.weight_bytes(network))
    result = pipeline.run(network, pipeline.configure(pipeline.parse(passes), chooser=chooser))
    fused = any(change.pass_name == "fuse" for change in result.changes)
    return result.model if fused else None


def _variants(network: ir.Model, engine: str, counted: Row) -> dict[str, ir.Model]:
    """The network as it is, and after each pipeline that finds sites of its own."""
    variants, sites = {"original": network}, 0
    for passes in PIPELINES:
        if counted[passes]["sites"] > sites:
            model = _rewritten(network, passes, engine)
            variants |= {} if model is None else {passes: model}
        sites = counted[passes]["sites"]
    return variants


def examine(name: str, seconds: float) -> Row:
    """In a fresh process: all figures of a network.

    Args:
        name: one of ``NETWORKS``.
        seconds: of timing, per engine; 0 to count only.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    network = _load(name)
    shape = [int(dim) for dim in list(network.graph.inputs[0].shape or ())[1:]]
    try:
        counting.count(network)
    except UnsupportedError as error:
        return {"input": shape, "refused": str(error), "counted": {}, "timed": {}}
    counted = {passes: _counted(network, passes) for passes in PIPELINES}
    timed: Row = {}
    for engine in ENGINES if seconds else ():
        variants = _variants(network, engine, counted)
        if len(variants) > 1:
            timings = outside.timed(variants, engine, seconds)
            first = timings.pop("original")
            ratios = {which: engines.ratio(first, one) for which, one in timings.items()}
            timed[engine] = {
                "original_ms": first.median_ms,
                "ratios": {which: [r.value, r.low, r.high] for which, r in ratios.items()},
            }
    return {"input": shape, "counted": counted, "timed": timed, **core_figures()}


def _ratio(row: Row, engine: str, passes: str) -> str:
    """How many times as fast, with its interval."""
    if not row["processes"]:
        return "not measured"
    found = row["timed"].get(engine, {"ratios": {}})["ratios"].get(passes)
    if found is None:
        return "left as it is"
    value, low, high = found
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _lines(row: Row) -> list[list[str]]:
    """A line for each pipeline that finds sites of its own; one where none does."""
    name, size = NETWORKS[row["network"]], "×".join(map(str, row["input"]))
    if "refused" in row:
        return [[name, size, "not counted", "", "", "", ""]]
    lines, sites = [], 0
    for passes in PIPELINES:
        counted = row["counted"][passes]
        if counted["sites"] > sites:
            told = [CALLED[passes], str(counted["sites"]), f"{100 * counted['gone']:.1f}\u00a0%"]
            ratios = [_ratio(row, engine, passes) for engine in ENGINES]
            lines.append([name, size, *told, *ratios])
        sites = counted["sites"]
    return lines or [[name, size, "none", "0", "0 %", "", ""]]


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """The lines of the table, in the order of ``NETWORKS``."""
    order = list(NETWORKS)
    ordered = sorted(rows, key=lambda row: order.index(row["network"]))
    return [line for row in ordered for line in _lines(row)]


def main() -> None:
    """Measure and print the table."""
    parser = repeated(__doc__, "gallery", seconds=2.0, processes=1)
    options = parser.parse_args()
    options.processor_time = True
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"no network {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    rows = Rows(options, ["network", "batch"])
    for name in options.networks or NETWORKS:
        processes = int(options.seconds > 0)
        if not rows.done(processes, network=name, batch=1):
            found = fresh.call("benchmarks.gallery:examine", name=name, seconds=options.seconds)
            rows.put({"network": name, "batch": 1, "processes": processes, **found})
            print(name, found["counted"], found["timed"], flush=True)
    show("known architectures, batch 1, one thread", COLUMNS, summary(rows.rows))


if __name__ == "__main__":
    main()
