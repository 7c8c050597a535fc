"""``mlcnn check``: a network held against a baseline, for continuous integration."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Engine, Imaging, Loading, Measuring, Printing
from mlcnn.cli.output import print_json, print_text, progress
from mlcnn.errors import InputError

__all__ = ["BROKEN", "check"]

BROKEN = 3
"""Exit code of a check whose limit broke."""

_PERCENT = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?%", re.ASCII)


@Parameter(name="*", group="Measurement")
@dataclass(frozen=True, slots=True)
class MeasuringOne(Measuring):
    """The same in one engine, if none is named."""

    engine: Annotated[
        tuple[Engine, ...],
        Parameter(help="engine to measure; onnxruntime by default. Repeat it for more."),
    ] = ("onnxruntime",)


@Parameter(name="*", group="Limits")
@dataclass(frozen=True, slots=True)
class Limiting:
    """How much worse the network may be; one at least.

    Attributes:
        no_more: what may not grow: multiplications, parameters (as `mlcnn count` has them), or
            bytes of the file. Counted, so the same on every machine. Repeat it for more.
        max_error: largest difference of an output, relative to its largest value, as 1e-4.
        max_drop: percentage points of accuracy that may be lost on the images of --data.
        not_slower: how much longer the time may be, as 2%: broken only where it is longer for sure.
    """

    no_more: tuple[Literal["multiplications", "parameters", "bytes"], ...] = ()
    max_error: float | None = None
    max_drop: float | None = None
    not_slower: str | None = None


def parse_percent(text: str) -> float:
    """The share in a text like ``2%``.

    Raises:
        InputError: it is no percentage, or less than 0.
    """
    found = _PERCENT.fullmatch(text.strip())
    if found is None:
        raise InputError(f"--not-slower {text}: a percentage that is 0 or more is required, as 2%")
    return float(found[1]) / 100


def check(
    model: str,
    /,
    *,
    baseline: str,
    limiting: Limiting = Limiting(),
    data: str | None = None,
    input_: Annotated[Path | None, Parameter(name="--input")] = None,
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    measuring: MeasuringOne = MeasuringOne(),
    printing: Printing = Printing(),
) -> int:
    """Hold a network against a baseline: exit code 0 where every limit holds, 3 where one breaks.

    Both networks are taken as they are; no pass runs. One line says what was found.

    Args:
        model: zoo name, .onnx or .pt2 file, or package.module:callable.
        baseline: the network that it is held against, with the same inputs and outputs.
        limiting: what may not be worse.
        data: labelled images, as for `mlcnn finetune`; with --max-drop.
        input_: .npz of inputs to compare the outputs on, in place of random ones; with --max-error.
        imaging: how the images go to the networks.
        loading: how to load the networks.
        measuring: on what to measure.
        printing: what is printed.
    """
    limit = limiting.not_slower
    with progress() as tell:
        checked = mlcnn.check(
            model,
            baseline,
            no_more=tuple(dict.fromkeys(limiting.no_more)),
            max_error=limiting.max_error,
            max_drop=limiting.max_drop,
            not_slower=None if limit is None else parse_percent(limit),
            data=data,
            inputs=input_,
            imaging=imaging.options(),
            measuring=measuring.options(),
            input_shape=loading.shape,
            weights=loading.weights,
            progress=tell,
        )
    if printing.json:
        print_json(checked.to_json())
    else:
        print_text(f"mlcnn check: {mlcnn.api.printable(checked.line)}\n")
    return 0 if checked.ok else BROKEN
