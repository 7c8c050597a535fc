"""`torch.compile(backend="mlcnn")` against Inductor, on ten networks of a public zoo, one thread.

The networks are pytorchcv's (of the extra `bench`), with random weights and statistics, at the size
that each is made for; the list was settled before anything was measured. Inductor runs in its
strongest form: weights frozen, and what calls the kernels compiled too. Both are called as a user
calls them, through TorchDynamo and its guards, in turn in one process. Outputs are compared with
those of PyTorch as it runs by default, on fresh inputs. The figure is how many times as fast
backend `mlcnn` is: the median over fresh processes of the median of paired runs.
"""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import fresh
from benchmarks.interleaved import faster, largest_error, medians, samples
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import Found

__all__ = ["BACKENDS", "NETWORKS", "main", "module_of", "table", "time_backends"]

NETWORKS = (
    *("resnet18", "resnet20_cifar10", "bn_vgg11", "densenet121", "mobilenetv2_w1"),
    *("squeezenet_v1_0", "inceptionv3", "efficientnet_b0", "shufflenetv2_w1", "seresnet18"),
)
BACKENDS = ("mlcnn", "inductor", "eager")
_BATCHES = (1, 8)
_SEED, _MOST = 0, 1e-4


def module_of(name: str, batch: int) -> tuple[nn.Module, Tensor]:
    """A network of the public zoo in inference, and an input."""
    from pytorchcv.model_provider import get_model  # noqa: PLC0415 - of the extra `bench`

    torch.manual_seed(_SEED)
    module: Any = get_model(name, pretrained=False).eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):  # statistics that it does not have untrained
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.7, 1.3)
    return module, torch.randn(batch, 3, *module.in_size)


def time_backends(
    network: str, batch: int, budget_s: float, processor_time: bool
) -> dict[str, Any]:
    """In a fresh process: samples of every backend in ms, seconds of compiling, and errors."""
    from torch._inductor import config as inductor  # noqa: PLC0415 - seconds

    from mlcnn.api.dynamo import backend  # noqa: PLC0415

    torch.set_num_threads(1)
    module, images = module_of(network, batch)
    run: dict[str, Any] = {
        # Outputs are compared below, so that nothing else needs to be checked.
        "mlcnn": torch.compile(module, backend=backend, options={"threads": 1, "check": False}),
        "inductor": torch.compile(module, dynamic=False),
        "eager": module,
    }
    others, seconds = torch.randn_like(images), dict[str, float]()
    with torch.no_grad():
        for name in ("mlcnn", "inductor"):
            start = time.perf_counter()
            with inductor.patch(freezing=True, cpp_wrapper=True):
                run[name](images)
            seconds[name] = time.perf_counter() - start
        expected = module(others).numpy()
        errors = {name: largest_error(run[name](others).numpy(), expected) for name in BACKENDS[:2]}
        calls = {name: lambda call=call: call(images) for name, call in run.items()}
        return {
            **samples(calls, budget_s, processor_time=processor_time),
            "compile_s": seconds,
            "errors": errors,
        }


def _row(network: str, batch: int, parts: Sequence[dict[str, Any]]) -> Row:
    """What the fresh processes of one setting say together."""
    ratios = [faster(one["samples"], "mlcnn", ("inductor",)) for one in parts]
    times = [medians(one["samples"]) for one in parts]
    return {
        "network": network, "batch": batch, "processes": len(parts),
        "ratio": median(ratios), "ratios": ratios,
        "ms": {name: median(one[name] for one in times) for name in BACKENDS},
        "ms_by_process": {name: [one[name] for one in times] for name in BACKENDS},
        "errors": {
            name: max(one["errors"][name] for one in parts) for name in parts[0]["errors"]
        },
        "compile_s": {
            name: median(one["compile_s"][name] for one in parts) for name in parts[0]["compile_s"]
        },
        "peak_gflops": median(one.get("peak_gflops", 0.0) for one in parts),
    }  # fmt: skip


def _ratio(row: Row) -> str:
    """How many times as fast, with the smallest and the largest where there are several."""
    ratio, spread, *_ = Found("", row["network"], row["batch"], row["ratios"]).cells()
    return f"{ratio} ({spread})" if spread else ratio


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Columns and lines: times, how many times as fast, and the largest difference of an output."""
    columns = ["network, batch", *(f"{name}, ms" for name in BACKENDS)]
    columns += ["`mlcnn` over Inductor", "largest difference"]
    lines = [
        [
            f"{row['network']}, {row['batch']}", *(f"{row['ms'][name]:.3g}" for name in BACKENDS),
            _ratio(row),
            f"{row['errors']['mlcnn']:.1e}",
        ]
        for row in rows
    ]  # fmt: skip
    return columns, lines


def main() -> int:
    """Measure and print; 1 where an output differs by more than 1e-4 of the largest."""
    options = repeated(__doc__, "torch_backend", seconds=6, processes=3).parse_args()
    rows = Rows(options, ("network", "batch"))
    settings = [
        (network, batch)
        for network in options.networks or NETWORKS
        for batch in options.batch or _BATCHES
    ]
    for network, batch in settings:
        if rows.done(options.processes, network=network, batch=batch):
            continue
        parts = [
            fresh.call(
                "benchmarks.torch_backend:time_backends", network=network, batch=batch,
                budget_s=options.seconds, processor_time=options.processor_time,
            )
            for _ in range(options.processes)
        ]  # fmt: skip
        rows.put(_row(network, batch, parts))
        print("; ".join(table(rows.rows[-1:])[1][0]), flush=True)
    mine = [row for row in rows.rows if (row["network"], row["batch"]) in settings]
    show('torch.compile(backend="mlcnn") against Inductor', *table(mine))
    for batch in options.batch or _BATCHES:
        found = [row["ratio"] for row in mine if row["batch"] == batch]
        fast = sum(ratio >= 1 for ratio in found)
        print(f"batch {batch}: at least as fast as Inductor on {fast} of {len(found)}")
    wrong = [row for row in mine if not row["errors"]["mlcnn"] <= _MOST]
    for row in wrong:
        print(f"{row['network']}, batch {row['batch']}: differs by {row['errors']['mlcnn']:.1e}")
    print(f"results: {options.out}")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
