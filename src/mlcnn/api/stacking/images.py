"""Steps that leave out what single images do not need."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import onnx_ir as ir

from mlcnn.api.skipping import SkipOptions, skip
from mlcnn.api.stacking.kind import Kind, Values
from mlcnn.api.stacking.lab import Folder, Lab
from mlcnn.frontier.stacks import Aspect
from mlcnn.graph import without_dropout

__all__ = ["IMAGES"]

_REPORTED = 1000


def _skipped(method: str, model: ir.Model, values: Values, lab: Lab, folder: Folder) -> ir.Model:
    """Thresholds are chosen on validation images; test images are not looked at."""
    del folder
    options = SkipOptions(
        max_drop=values["max-drop"], method=method, choose_on="validation", compared=False
    )
    plain, data = without_dropout(model), lab.data
    data = replace(data, test=data.validation.first(_REPORTED))
    return skip(
        plain, data, options, images=lab.as_they_go, measure=False, progress=lab.tell,
        notice=lab.say,
    ).model  # fmt: skip


_IN_FLOATS = "masks choose positions of layers in floats, and no kernel computes codes at some"


def _kind(
    name: str, method: str, summary: str, without: Mapping[Aspect, str] | None = None
) -> Kind:
    return Kind(
        name, Aspect.IMAGES, summary, partial(_skipped, method), values={"max-drop": 1.0},
        least={"max-drop": 0.0}, most={"max-drop": 100.0}, without=without or {},
    )  # fmt: skip


IMAGES = (
    _kind("exits", "exit", "images leave where a first head is sure of them"),
    _kind(
        "focus", "focus", "layers compute the positions that a mask of the image keeps",
        {Aspect.NUMBERS: _IN_FLOATS},
    ),
    _kind("select", "select", "layers compute the channels that likely classes need"),
)  # fmt: skip
