"""Summaries of runs as they come out of a pipeline, without running one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mlcnn.accelerators import (
    Evaluation,
    LayerTask,
    compare,
    load_accelerator,
    load_technology,
    with_equal_precision,
)
from mlcnn.counting import CountReport, LayerCount, count_layer
from mlcnn.passes import Change, Skipped
from mlcnn.report import (
    ORIGINAL,
    RESULT,
    Exactness,
    Latency,
    Potential,
    RunSummary,
    Unavailable,
)
from mlcnn.training.intervals import Accuracy
from mlcnn.workload import ConvLayer, Layer, Pool

PIPELINE = "fold-batch-norm,max-to-average{window=stride},reorder,fuse{form=auto}"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}&amp;\"'`"
HALVE = Pool((2, 2), (2, 2))
STAGE = "max-to-average, reorder"
VARIANTS = (ORIGINAL, STAGE, RESULT)


def conv(name: str, inputs: int, outputs: int, size: int, kernel: int = 3) -> ConvLayer:
    return ConvLayer(name, 1, outputs, inputs, size, size, kernel, kernel, pads=(kernel // 2,) * 4)


def fused(layer: ConvLayer, form: str, nodes: tuple[str, ...] = ()) -> list[Change]:
    """What the pipeline records for one site whose max pool became an average pool."""
    layer = replace(layer, pool=HALVE)
    every = (layer.name, *nodes)
    return [
        Change("max-to-average", every, exact=False),
        Change("reorder", every, exact=False),
        Change("fuse", every, exact=True, form=form),
    ]


def timing(engine: str, variant: str, batch: int, median: float, spread: float) -> Latency:
    return Latency(
        engine, variant, batch, 1, median, median * (1 - spread), median * (1 + 1.4 * spread)
    )


def timings(base: dict[str, float], ratios: tuple[float, float]) -> tuple[Latency, ...]:
    """Latencies of every engine at batch 1 and 8, from the original's at batch 1."""
    return tuple(
        timing(engine, variant, batch, ms * batch**0.93 / ratio, 0.03)
        for batch in (1, 8)
        for engine, ms in base.items()
        for variant, ratio in zip(VARIANTS, (1.0, *ratios), strict=True)
    )


def summary_of(name: str, rows: list[LayerCount], changes: list[Change], **more) -> RunSummary:
    return RunSummary(
        model_name=name,
        source=name,
        pipeline=PIPELINE,
        command=f"mlcnn run {name} --passes '{PIPELINE}' --seed 0 -o runs/{name}",
        seed=0,
        versions={"mlcnn": "0.1.0", "onnx": "1.23.0", "onnxruntime": "1.31.0", "torch": "2.13.0"},
        machine="Intel Xeon Platinum 8481C, 2 cores",
        changes=tuple(changes),
        counts=CountReport(tuple(rows)),
        **more,
    )


def evaluations(rows: list[LayerCount], batch: int = 16) -> tuple[Evaluation, ...]:
    """The network on the machines of all precisions."""
    tasks = [LayerTask(Layer(replace(row.layer, N=batch))) for row in rows]
    against, technology = load_accelerator("dcnn-fp32"), load_technology()
    fp32, *others = (
        compare(tasks, load_accelerator(f"mlcnn-{precision}"), against, technology, batch=batch)
        for precision in ("fp32", "fp16", "int8")
    )
    equal = (
        with_equal_precision(found, load_accelerator(f"dcnn-{found.accelerator.precision}"))
        for found in others
    )
    return fp32, *equal


def vgg16() -> RunSummary:
    rows: list[LayerCount] = []
    changes: list[Change] = []
    size, inputs, index = 32, 3, 0
    for outputs, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for repeat in range(repeats):
            layer = conv(f"features.{index}", inputs, outputs, size)
            changes.append(
                Change("fold-batch-norm", (layer.name, f"features.{index + 1}"), exact=True)
            )
            if repeat == repeats - 1:
                form = "box" if size > 4 else "expanded"
                nodes = (f"features.{index + 2}", f"features.{index + 3}")
                changes += fused(layer, form, nodes)
                rows.append(count_layer(replace(layer, pool=HALVE), form=form))
                index += 1
            else:
                rows.append(count_layer(layer))
            index += 3
            inputs = outputs
        size //= 2
    rows.append(count_layer(conv("classifier", 512, 10, 1, kernel=1), operator="Gemm"))
    latencies = timings({"onnxruntime": 5.1, "openvino": 4.2, "torch": 9.7}, (1.02, 1.46))
    return summary_of(
        "vgg16",
        rows,
        changes,
        created="2026-01-31 12:00 UTC",
        skipped=(Skipped("fuse", "avgpool", "the pool's window is one element"),),
        exactness=Exactness(4.4e-15, 1e-12, sites=5),
        latencies=latencies,
        unavailable=(Unavailable("torch-compile", "no C++ compiler was found on this machine"),),
        evaluations=evaluations(rows),
        noise=("The spread of torch at batch 1 is 12 % of its median: the machine is busy.",),
        accuracy=tuple(
            Accuracy(variant, "CIFAR-10 sample", 1000, top1)
            for variant, top1 in zip(VARIANTS, (0.912, 0.904, 0.904), strict=True)
        ),
    )


def densenet121() -> RunSummary:
    rows = [count_layer(conv("conv1", 3, 64, 32))]
    changes: list[Change] = []
    channels, size, growth = 64, 32, 32
    for block, layers in enumerate((6, 12, 24, 16), 1):
        for index in range(layers):
            prefix = f"features.denseblock{block}.denselayer{index + 1}"
            rows.append(count_layer(conv(f"{prefix}.conv1", channels, 4 * growth, size, kernel=1)))
            rows.append(count_layer(conv(f"{prefix}.conv2", 4 * growth, growth, size)))
            channels += growth
        if block < 4:
            layer = conv(f"features.transition{block}.conv", channels, channels // 2, size, 1)
            layer = replace(layer, pool=HALVE)
            nodes = (layer.name, f"features.transition{block}.pool")
            changes.append(Change("fuse", nodes, exact=True, form="pool-first"))
            rows.append(count_layer(layer, form="pool-first"))
            channels, size = channels // 2, size // 2
    return summary_of(
        "densenet121",
        rows,
        changes,
        skipped=(Skipped("fuse", "avgpool", "norm5 shifts its input: no convolution to fuse"),),
        exactness=Exactness(1.3e-15, 1e-12, sites=3),
        evaluations=evaluations(rows),
        latencies=tuple(
            row
            for row in timings({"onnxruntime": 31.0, "openvino": 27.0}, (1.0, 1.09))
            if row.variant != STAGE
        ),
    )


def untouched() -> RunSummary:
    """A network in which nothing is to be gained without fine-tuning, measured nowhere."""
    rows = [count_layer(conv("conv1", 3, 8, 8)), count_layer(conv("conv2", 8, 8, 8))]
    return summary_of(
        "plain",
        rows,
        [],
        evaluations=evaluations(rows),
        skipped=(Skipped("fuse", "pool", "a max pool: no average to fuse"),),
        potential=Potential(1, 27_648),
    )


MAKERS: dict[str, Callable[[], RunSummary]] = {
    "vgg16": vgg16,
    "densenet121": densenet121,
    "untouched": untouched,
}


@pytest.fixture
def summary(request: pytest.FixtureRequest) -> RunSummary:
    """VGG-16 on CIFAR, or what ``indirect`` parametrisation names."""
    return MAKERS[getattr(request, "param", "vgg16")]()


@pytest.fixture
def hostile(summary: RunSummary) -> RunSummary:
    """Markup in everything that can come from a network or its file."""
    layers = tuple(
        replace(row, layer=replace(row.layer, name=f"{row.name}{HOSTILE}"))
        for row in summary.counts.layers
    )
    changes = tuple(
        Change(c.pass_name, tuple(f"{n}{HOSTILE}" for n in c.nodes), c.exact, c.form)
        for c in summary.changes
    )
    hostile_evaluations = tuple(
        replace(
            found,
            accelerator=replace(found.accelerator, name=f"{found.accelerator.name}{HOSTILE}"),
            against=replace(found.against, name=HOSTILE),
            technology=replace(found.technology, operations_name=HOSTILE),
            layers=tuple(
                replace(
                    row,
                    task=row.task.with_nest(replace(row.task.nest, name=f"{row.name}{HOSTILE}")),
                )
                for row in found.layers
            ),
        )
        for found in summary.evaluations
    )
    return replace(
        summary,
        evaluations=hostile_evaluations,
        model_name=HOSTILE,
        source=HOSTILE,
        pipeline=HOSTILE,
        command=HOSTILE,
        machine=HOSTILE,
        created=HOSTILE,
        counts=CountReport(layers),
        changes=changes,
        skipped=(Skipped("fuse", HOSTILE, HOSTILE),),
        latencies=tuple(replace(row, engine=HOSTILE) for row in summary.latencies),
        noise=(HOSTILE,),
        warnings=(HOSTILE,),
        unavailable=(Unavailable(HOSTILE, HOSTILE),),
        accuracy=tuple(replace(row, dataset=HOSTILE) for row in summary.accuracy or ()),
        versions={HOSTILE: HOSTILE},
    )
