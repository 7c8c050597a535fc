"""Writes the tables of measurements in README.md and docs from the figures kept.

A region of a page begins with ``<!-- measured: NAME -->`` and ends with ``<!-- end -->``. Figures
come from ``benchmarks/measured``: times from a folder per processor, and every table says which one
it is of; accuracies from files beside these folders. With ``--check`` nothing is written, and a
page that differs ends in 1.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import (
    choice,
    engines,
    few_bits,
    fixed_point,
    gallery,
    monarch,
    pulling,
    quantised,
    recovery,
    speed,
    structured_accuracy,
    torch_backend,
)
from benchmarks.results import KEPT, Row, read_rows
from benchmarks.targets import TARGETS, Figure, Found, found_in, targets_of

__all__ = ["PAGES", "main", "rewritten"]

PAGES = tuple(
    Path(__file__).parents[1] / page
    for page in (
        "README.md",
        "docs/gallery.md",
        "docs/measuring.md",
        "docs/pytorch.md",
        "docs/training.md",
    )
)
_REGION = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CALLED = {
    "lenet5": "LeNet-5", "vgg16": "VGG-16", "vgg19": "VGG-19", "googlenet": "GoogLeNet",
    "densenet121": "DenseNet-121", "alexnet": "AlexNet", "mobilenetv2_w1": "MobileNetV2",
    "efficientnet_b0": "EfficientNet-B0", "resnet18": "ResNet-18", "resnet20": "ResNet-20",
    "resnet50": "ResNet-50", "resnet56": "ResNet-56",
    "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch",
}  # fmt: skip

_VERSIONS = ("onnxruntime", "openvino")

Lines = Sequence[Sequence[str]]
Rows = Sequence[Row]


def _called(name: str) -> str:
    """A network or an engine as pages call it."""
    plain = name.removeprefix("pytorchcv:")
    large = plain.removesuffix("-224")
    return _CALLED.get(large, large) + (" at 224" if large != plain else "")


def _cell(found: Found) -> str:
    """A ratio with its smallest and largest."""
    ratio, spread, *_ = found.cells()
    return f"{ratio} ({spread})" if spread else ratio


def _table(columns: Sequence[str], lines: Lines) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _several(values: Sequence[object]) -> str:
    """A value, or the smallest and the largest."""
    low, high = min(values, key=str), max(values, key=str)
    return str(low) if low == high else f"{low} to {high}"


def _gallery(rows: Rows) -> str:
    """Known architectures: sites, savings and ratios."""
    return _table(gallery.COLUMNS, gallery.summary(rows))


def _caption(rows: Rows, command: str) -> str:
    """Processor, compiler, peak and versions of these rows, and how often they were measured."""
    told = [row["conditions"] for row in rows]
    processor = told[0]["processor"]
    kind = f" (family {processor['family']}, model {processor['model']})"
    peaks = [row["peak_gflops"] for row in rows if row.get("peak_gflops")]
    peak = f"measured peak {median(peaks):.0f} GF/s; " if peaks else ""
    versions = ", ".join(
        f"{_called(name)} {_several([one['versions'].get(name, '?') for one in told])}"
        for name in (("torch",) if "inductor" in rows[0].get("ms", ()) else _VERSIONS)
    )
    if command.endswith("gallery"):
        return (
            f"{processor['name']}{kind if processor['family'] else ''}, "
            f"{processor['instructions']}, {_several([one['compiler'] for one in told])}, "
            f"{versions}.\n{gallery.TOLD.format(_several([one['date'] for one in told]))}"
        )
    processes = [row["processes"] for row in rows]
    clock = ", ".join(sorted({one["clock"] for one in told}))
    return (
        f"{processor['name']}{kind if processor['family'] else ''}, {processor['instructions']}, "
        f"{_several([one['compiler'] for one in told])}, {peak}{versions}.\n"
        f"One thread, medians of fresh processes ({_several(processes)} each, {clock} time, "
        f"{_several([one['date'] for one in told])}), smallest and largest in brackets: "
        f"`{command}`.\n"
    )


def _fused(rows: Rows) -> str:
    """Fused over reordered, an engine a column."""
    names = [n for n in ("onnxruntime", "openvino", "torch", "native") if _of(rows, engine=n)]
    ahead = {(f.network, f.batch): f for f in speed.found(rows) if f.figure is Figure.FUSED_AHEAD}
    lines: list[list[str]] = []
    for network, batch in dict.fromkeys((row["network"], row["batch"]) for row in rows):
        line = [f"{_called(network)}, {batch}"]
        for name in names:
            ratios = [row["ratios"] for row in _of(rows, network=network, batch=batch, engine=name)]
            found = [Found("", network, batch, ratio) for ratio in ratios if ratio]
            line.append(_cell(found[0]) if found else "not measured")
        fastest = ahead.get((network, batch))
        lines.append([*line, "not measured" if fastest is None else _cell(fastest)])
    columns = ["network, batch", *map(_called, names), "fused: `native` over the better other"]
    return _table(columns, lines)


def _of(rows: Rows, **fields: object) -> Rows:
    return [row for row in rows if fields.items() <= {key: row[key] for key in fields}.items()]


def _engines(rows: Rows) -> str:
    """Native against the better other engine, networks as they are."""
    lines = [
        [
            f"{_called(row['network'])}, {row['batch']}",
            *(f"{row['ms'][name]:.3g}" for name in engines.ENGINES),
            _cell(found),
            f"{100 * row['peak_share']['native']:.0f} %",
        ]
        for row, found in zip(rows, found_in(rows, Figure.FP32), strict=True)
    ]
    milliseconds = [f"{_called(name)}, ms" for name in engines.ENGINES]
    columns = ("network, batch", *milliseconds, "times as fast as the better", "share of the peak")
    return _table(columns, lines)


def _quantised(rows: Rows) -> str:
    """Every ratio of quantised networks, a network a column."""
    settings = [(row["network"], row["batch"]) for row in rows]
    columns = ["times as fast", *(f"{_called(name)}, {batch}" for name, batch in settings)]
    lines = [
        [
            name,
            *(
                _cell(Found("", row["network"], row["batch"], row["ratios"][name]))
                if name in row["ratios"] else ""
                for row in rows
            ),
        ]
        for name in quantised.RATIOS
    ]  # fmt: skip
    return _table(columns, lines)


def _choice(rows: Rows) -> str:
    """Loss of the choices, and the worst layer of each."""
    lines = [
        [
            f"{_called(row['network'])}, {row['batch']}",
            *(
                cell
                for name, found in zip(choice.FIGURES, choice.found([row]), strict=True)
                for cell in (_cell(found), f"{row['worst'][name]['loss']:.2f}")
            ),
        ]
        for row in rows
    ]
    ways = [cell for name in choice.FIGURES for cell in (f"`{name}`", "its worst layer")]
    return _table(["network, batch", *ways], lines)


def _torch_backend(rows: Rows) -> str:
    """Backend `mlcnn` of torch.compile beside Inductor."""
    order = [(name, batch) for name in torch_backend.NETWORKS for batch in (1, 8)]
    columns, lines = torch_backend.table(
        sorted(rows, key=lambda row: order.index((row["network"], row["batch"])))
    )
    return _table(columns, lines)


_MADE: dict[str, tuple[str, Callable[[Rows], str]]] = {
    "fused": ("speed", _fused),
    "engines": ("engines", _engines),
    "quantised": ("quantised", _quantised),
    "choice": ("choice", _choice),
    "gallery": ("gallery", _gallery),
    "torch_backend": ("torch_backend", _torch_backend),
}
_ACCURACY: dict[str, tuple[Path, Sequence[str], Callable[[Rows], Lines]]] = {
    "fixed_point": (fixed_point.MEASURED, fixed_point.COLUMNS, fixed_point.summary),
    "monarch": (KEPT / "monarch.json", monarch.COLUMNS, monarch.summary),
    "structured_accuracy": (
        KEPT / "structured_accuracy.json",
        structured_accuracy.COLUMNS,
        structured_accuracy.summary,
    ),
    "recovery": (KEPT / "recovery.json", recovery.COLUMNS, recovery.summary),
    "few_bits": (KEPT / "few_bits.json", few_bits.COLUMNS, few_bits.summary),
    "pulling": (KEPT / "pulling.json", pulling.COLUMNS, pulling.summary),
}
_FOUND: dict[str, Callable[[Rows], list[Found]]] = {
    "engines": partial(found_in, figure=Figure.FP32),
    "speed": speed.found,
    "quantised": quantised.found,
    "choice": choice.found,
    "winograd": partial(found_in, figure=Figure.NCNN),
}


def _held(folder: Path) -> str:
    """Every target, and what was found on one processor."""
    found = {
        (figure.figure, figure.network, figure.batch): figure
        for name, of in _FOUND.items()
        for figure in of(_rows(folder, name))
    }
    asked = [(t.figure, t.network, t.batch) for t in TARGETS]
    lines: list[list[str]] = []
    for key in [*asked, *(key for key in found if key not in asked and found[key].target)]:
        figure = found.get(key, Found(*key, ratios=()))
        target, label = figure.target, [str(key[0]), f"{_called(key[1])}, {key[2]}"]
        told = [_cell(figure), figure.cells()[-1]] if figure.ratios else ["", "not measured"]
        lines.append([*label, "" if target is None else f"{target.ratio:.2f}", *told])
    return _table(("figure", "network, batch", "target", "found", ""), lines)


def _rows(folder: Path, name: str) -> list[Row]:
    path = folder / f"{name}.json"
    order = {key: index for index, key in enumerate(targets_of(*Figure))}
    rows = read_rows(path) if path.exists() else []
    return sorted(rows, key=lambda row: order.get((row["network"], row["batch"]), len(order)))


def _region(name: str, folders: Sequence[Path]) -> str:
    """The text of a region: accuracies, or a table of times per processor.

    Raises:
        KeyError: there is no such table.
    """
    if name in _ACCURACY:
        path, columns, summary = _ACCURACY[name]
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = document if isinstance(document, list) else document["rows"]
        return f"`python -m benchmarks.{name}`:\n\n{_table(columns, summary(rows))}"
    texts: list[str] = []
    for folder in folders:
        if name == "targets":
            if not any((folder / f"{held}.json").exists() for held in _FOUND):
                continue
            texts.append(f"`{folder.name}`:\n\n{_held(folder)}")
            continue
        benchmark, made = _MADE[name]
        rows = _rows(folder, benchmark)
        if rows:
            command = "python -m benchmarks" + ("" if benchmark == "speed" else f".{benchmark}")
            texts.append(f"{_caption(rows, command)}\n{made(rows)}")
    return "\n".join(texts)


def rewritten(text: str, kept: Path = KEPT) -> str:
    """A page with its regions made anew from the figures kept in a folder."""
    folders = sorted(path for path in kept.iterdir() if path.is_dir())
    return _REGION.sub(lambda match: f"{match[1]}{_region(match[2], folders)}\n{match[3]}", text)


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a change")
    options = parser.parse_args()
    changed = False
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            changed = True
            print(f"{page.name}: {'differs' if options.check else 'written'}")
            if not options.check:
                page.write_text(after, encoding="utf-8")
    if changed and options.check:
        sys.exit(1)


if __name__ == "__main__":
    main()
