"""What a search leaves in its folder: the network, the record, the page, the way to repeat it."""

import os
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlcnn.api.machine import versions
from mlcnn.api.provenance import write_result
from mlcnn.api.searching.found import Cheapest
from mlcnn.api.searching.options import CheapestOptions
from mlcnn.api.stacking import STACK_RECIPE, Lab
from mlcnn.frontier.outcome import Entry

__all__ = ["Given", "leave"]

_OPTIONS = {"batch_size": "--batch-size", "learning_rate": "--learning-rate", "crop": "--crop"}


@dataclass(frozen=True, slots=True)
class Given:
    """What a call was given, as it was given.

    Attributes:
        source: of the network.
        data: labelled images.
        weights: of a network of the zoo.
    """

    source: object = None
    data: object = None
    weights: object = None

    def replay(self, entry: Entry, lab: Lab) -> str:
        """``mlcnn stack`` with an entry's steps, trained as long; empty for one without steps.

        Args:
            entry: whose pipeline it is.
            lab: how it was trained.
        """
        if not entry.pipeline:
            return ""
        words = ["mlcnn", "stack", _text(self.source, "NETWORK"), "--data", _text(self.data)]
        words += ["--steps", entry.pipeline]
        if self.weights is not None:
            words += ["--weights", _text(self.weights)]
        if entry.images:
            words += _training(entry.images, lab)
        return " ".join(_quoted(word) for word in words)


def _training(seen: int, lab: Lab) -> list[str]:
    """Options of a training that sees so many images: some of them, or all repeatedly."""
    count, how = len(lab.data.training), lab.options
    words = ["--epochs", str(max(round(seen / count), 1))]
    words += ["--limit", str(seen)] if seen < count else []
    for name, option in _OPTIONS.items():
        value = getattr(how.recipe, name)
        words += [option, f"{value:g}"] if value != getattr(STACK_RECIPE, name) else []
    if how.recipe.flip != STACK_RECIPE.flip:
        words.append("--flip" if how.recipe.flip else "--no-flip")
    return words + (["--seed", str(how.seed)] if how.seed else [])


def leave(
    done: Cheapest, folder: Path, given: Given, options: CheapestOptions, lab: Lab | None
) -> Cheapest:
    """Write the record, the page and the cheapest network.

    Args:
        done: the answer.
        folder: where they go; it exists.
        given: what the call was given.
        options: what was asked for.
        lab: how stacks were trained; None where there were no images.

    Returns:
        The answer with what was asked for and how to repeat it.
    """
    asked = {"network": _text(given.source, ""), "data": _text(given.data, ""), **asdict(options)}
    again = ""
    if lab is not None:
        asked["recipe"] = asdict(lab.options.recipe)
        again = given.replay(done.outcome.entries[done.outcome.best], lab)
    outcome = replace(done.outcome, options=asked, replay=again, versions=versions())
    done = replace(done, outcome=outcome)
    write_result(folder, done.to_json())
    done.save(folder / f"{outcome.name}.onnx")
    done.report().save(folder / "report.html")
    return done


def _text(value: object, otherwise: str = "DATA") -> str:
    """What a shell is told; what lives in this process alone has a word that stands for it."""
    return os.fspath(value) if isinstance(value, str | os.PathLike) else otherwise


def _quoted(word: str) -> str:
    """As a shell takes it, in the quotes that the pages have."""
    plain = shlex.quote(word)
    return f'"{word}"' if plain.startswith("'") and not set(word) & set("\"'$`\\!") else plain
