"""A training step of a network with its pools before the batch norms: fused against unfused.

Convolution, pool, norm, activation: in this order (``reorder{norm=after-pool}``) convolution and
pool are one operator while the statistics of norms are still those of the batch. A step is the
forward pass, the loss, the backward pass and SGD with momentum. The limit of the ratio comes from
counts: multiplications of the layers, each three times (forward, by weight, by input), the first
twice; all else of a step is the same in both, so the ratio stays below it. Form ``box`` trains the
weights of the layer itself; ``expanded`` has larger kernels of its own, and so learns otherwise.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from benchmarks import fresh
from benchmarks.interleaved import clock_of
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import spread
from mlcnn import engines, nn, zoo
from mlcnn.counting import count
from mlcnn.passes import pipeline
from mlcnn.training import Hardware, Precision

__all__ = ["limit", "main", "networks", "step_of"]

_CLASSES = 10
_RATE = 0.01  # small: random images teach nothing, and losses must stay finite


def networks(model: ir.Model, form: str) -> dict[str, ir.Model]:
    """A network with average pools before its norms, and the same fused.

    Args:
        model: batch norms whole.
        form: of the fused layers.

    Raises:
        RuntimeError: nothing is fused.
    """
    passes = pipeline.parse("max-to-average,reorder{norm=after-pool}")
    reordered = pipeline.run(model, passes).model
    fused = pipeline.run(reordered, pipeline.parse(f"fuse{{form={form}}}"))
    if not fused.changes:
        raise RuntimeError("no pool stands directly behind a convolution: nothing is fused")
    return {"unfused": reordered, "fused": fused.model}


def limit(unfused: ir.Model, fused: ir.Model) -> float:
    """Multiplications of a step, unfused over fused; the first layer's input has no gradient."""
    rows = count(fused, unfused, executed=True).layers
    steps = [2, *[3] * (len(rows) - 1)]
    before, after = (
        sum(times * number for times, number in zip(steps, numbers, strict=True))
        for numbers in zip(*(row.macs for row in rows), strict=True)
    )
    return before / after


def step_of(
    model: ir.Model, images: torch.Tensor, labels: torch.Tensor, hardware: Hardware
) -> Callable[[], float]:
    """One step of training as a function that gives the loss before it."""
    module = nn.to_module(model).train()
    hardware.place(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=_RATE, momentum=0.9)
    images = images.to(memory_format=hardware.memory_format)

    def step() -> float:
        optimizer.zero_grad()
        with hardware.autocast():
            loss = F.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def time_steps(
    *, network: str, form: str, precision: str, batch: int, budget_s: float, processor_time: bool
) -> dict[str, Any]:
    """In a fresh process: samples of both in turn, in ms, and the limit."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pair = networks(zoo.load(network), form)
    kind = Precision(precision)
    hardware = Hardware(precision=kind, channels_last=kind is Precision.BF16)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(_CLASSES, (batch,))
    runners = {name: step_of(model, images, labels, hardware) for name, model in pair.items()}
    found = engines.interleave(
        runners,
        budget_s=budget_s,
        min_rounds=3,
        clock=clock_of(processor_time=processor_time),
    )
    return {
        "ms": {name: list(timing.samples_ms) for name, timing in found.items()},
        "limit": limit(pair["unfused"], pair["fused"]),
    }


def row_of(
    network: str, form: str, precision: str, batch: int, parts: Sequence[dict[str, Any]]
) -> Row:
    """What the fresh processes of one setting say together."""
    ratios = [
        median(slow / fast for slow, fast in zip(*part["ms"].values(), strict=True))
        for part in parts
    ]
    return {
        "network": network, "form": form, "precision": precision, "batch": batch,
        "processes": len(parts), "ratios": ratios, "limit": parts[0]["limit"],
        "ms": {name: median(median(p["ms"][name]) for p in parts) for name in parts[0]["ms"]},
    }  # fmt: skip


def _line(row: Row) -> list[str]:
    label = f"{row['network']}, {row['form']}, batch {row['batch']}, {row['precision']}"
    times = [f"{row['ms'][name]:.0f}" for name in ("unfused", "fused")]
    return [label, *times, f"{median(row['ratios']):.2f}", spread(row["ratios"]),
            f"{row['limit']:.2f}"]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "training_step", seconds=30, processes=3)
    parser.add_argument("--form", default="box", help="of the fused layers, see the top")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    options = parser.parse_args()
    rows = Rows(options, ("network", "form", "precision", "batch"))
    for network in options.networks or ["vgg16"]:
        for batch in options.batch or [32]:
            for precision in options.precision:
                key = {"network": network, "form": options.form, "precision": precision,
                       "batch": batch}  # fmt: skip
                if rows.done(options.processes, **key):
                    continue
                parts = [
                    fresh.call(
                        "benchmarks.training_step:time_steps", **key, budget_s=options.seconds,
                        processor_time=options.processor_time,
                    )
                    for _ in range(options.processes)
                ]  # fmt: skip
                rows.put(row_of(**key, parts=parts))
    columns = ("a training step, one thread", "unfused, ms", "fused, ms", "times as fast",
               "least to most", "limit")  # fmt: skip
    show("training step", columns, [_line(row) for row in rows.rows])
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
