"""Which layers a pipeline changes, decided before a training and kept for the next call of it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir

from mlcnn.passes import Chooser, Pass, pipeline
from mlcnn.training import Processes

__all__ = ["kept", "settled"]

_NAME = "settled.json"
_ALONE = Processes()


def settled(
    model: ir.Model,
    passes: str,
    chooser: Chooser | None,
    *,
    folder: Path | None = None,
    processes: Processes = _ALONE,
    say: Callable[[str], None] | None = None,
) -> str:
    """The pipeline with what depends on time written down, so that every run of it does the same.

    Measured times differ from call to call, and from process to process; a training goes on with
    the layers that it began with.

    Args:
        model: the network that it will run on.
        passes: the pipeline.
        chooser: what decides; an estimate for None.
        folder: of the results: what an earlier call decided there holds, and this one is kept.
        processes: the first of them decides for all.
        say: told which layers stay as they are, and why.
    """
    parsed = pipeline.configure(pipeline.foreseen(pipeline.parse(passes)), chooser=chooser)
    if not pipeline.undecided(parsed):
        return passes
    return kept(passes, lambda: _decided(model, parsed, say), folder, processes)


def kept(asked: str, decide: Callable[[], str], folder: Path | None, processes: Processes) -> str:
    """What an earlier call decided in a folder, or what the first process decides now.

    Args:
        asked: what is decided; another answer is none.
        decide: makes the decision.
        folder: of the results; None for nowhere.
        processes: which all get the same.
    """
    found = ""
    if not processes.rank:
        path = None if folder is None else folder / _NAME
        record = {} if path is None or not path.exists() else json.loads(path.read_text("utf-8"))
        found = record["settled"] if record.get("asked") == asked else decide()
        if path is not None:
            text = json.dumps({"asked": asked, "settled": found}, indent=1)
            path.write_text(text + "\n", encoding="utf-8")
    return processes.first(found)


def _decided(model: ir.Model, passes: Sequence[Pass], say: Callable[[str], None] | None) -> str:
    result = pipeline.run(model, passes)
    stages = [stage for stage in result.stages if pipeline.undecided([stage.applied])]
    for left in (left for stage in stages for left in stage.result.skipped):
        if say is not None:
            say(f"{left.node}: {left.reason}")
    return result.settled
