"""Stacks tried: what each comes to, written down as soon as it is known."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.engine_accuracy import decisions
from mlcnn.api.searching.prices import Price, Prices
from mlcnn.api.stacking import Lab, Stack, run
from mlcnn.api.writing import no_room
from mlcnn.errors import MlcnnError
from mlcnn.journal import Journal
from mlcnn.report import ORIGINAL
from mlcnn.training import ImageSet
from mlcnn.training.intervals import Difference, Right, paired

__all__ = [
    "Done",
    "Here",
    "Made",
    "Trial",
    "Trials",
    "Workers",
    "attempt",
    "packed",
    "right_of",
    "unpacked",
]


_FOR_COST = 512
"""Validation images where accuracy does not count."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A stack, and how long it is trained.

    Attributes:
        stack: the steps.
        images: that each step that trains sees; 0 where none does, or for its cost alone.
        predicted: share of the original's cost, and drop, as foretold; None where nothing was.
        peer: name of another tool's network, that stands beside; empty for one of ours.
    """

    stack: Stack = field(default_factory=Stack)
    images: int = 0
    predicted: tuple[float, float] | None = None
    peer: str = ""

    @property
    def trained_steps(self) -> int:
        """How many of its steps train."""
        return sum(step.kind.trains for step in self.stack.steps)

    @property
    def is_untrained(self) -> bool:
        """Whether it says what a stack costs, and nothing of its accuracy."""
        return self.trained_steps > 0 and not self.images

    @property
    def key(self) -> str:
        """By which it is known."""
        if self.peer:
            return self.peer
        return f"{self.stack.text} @ {self.images}" if self.trained_steps else self.stack.text

    @property
    def told(self) -> str:
        """In words."""
        text = self.peer or self.stack.text or ORIGINAL
        if not self.trained_steps:
            return text
        return f"{text}, {self.images:,} images" if self.images else f"{text}, untrained"


@dataclass(frozen=True, slots=True)
class Made:
    """What a worker made of a trial.

    Attributes:
        key: of the trial.
        model: the network; None where a step failed.
        right: which of the images that choose it has right.
        why: it failed.
        seconds: that it took.
    """

    key: str
    model: ir.Model | None
    right: Right
    why: str
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A trial that is over.

    Attributes:
        trial: it.
        price: what the network costs; None where a step failed.
        right: which of the images that choose it has right.
        why: it failed, or was not gone on with.
        seconds: that it took, measuring included.
    """

    trial: Trial
    price: Price | None
    right: Right
    why: str
    seconds: float

    def change(self, original: "Done") -> Difference:
        """Accuracy less the original's, on the images that choose."""
        return paired(original.right, self.right)

    def to_json(self) -> dict[str, Any]:
        """A row of the journal."""
        return {
            "stack": self.trial.stack.text,
            "images": self.trial.images,
            "predicted": self.trial.predicted,
            "price": None if self.price is None else asdict(self.price),
            "right": packed(self.right),
            "why": self.why,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, trial: Trial, row: Mapping[str, Any]) -> "Done":
        """Of a row of the journal."""
        price = None if row["price"] is None else Price(**row["price"])
        told = row["predicted"]
        known = replace(trial, predicted=None if told is None else (told[0], told[1]))
        return cls(known, price, unpacked(row["right"]), row["why"], row["seconds"])


def packed(right: Right) -> list[Any]:
    """Which images are right, as text."""
    return [base64.b64encode(np.packbits(right).tobytes()).decode(), len(right)]


def unpacked(text: Sequence[Any]) -> Right:
    """Which images are right, of such text."""
    bits = np.frombuffer(base64.b64decode(text[0]), np.uint8)
    return np.unpackbits(bits)[: text[1]].astype(bool)


class Workers(Protocol):
    """What makes networks of trials."""

    def map(self, trials: Sequence[Trial]) -> Iterator[Made]:
        """Make them, in whatever order they are finished."""
        ...


@dataclass(slots=True)
class Here:
    """Makes them in this process, one after the other."""

    lab: Lab
    folder: Path

    def map(self, trials: Sequence[Trial]) -> Iterator[Made]:
        """See ``Workers``."""
        for trial in trials:
            yield attempt(self.lab, trial, self.folder)


def attempt(lab: Lab, trial: Trial, folder: Path | None) -> Made:
    """Make a network of a trial: the same for the same lab, wherever it is made.

    Args:
        lab: the original, the images and how networks are trained for a whole number of epochs.
        trial: the stack, and the images that each training sees.
        folder: where prefixes are kept; None for nowhere.

    Raises:
        OSError: the folder cannot be written.
    """
    begun = time.time()
    none = np.zeros(0, bool)
    try:
        model = run(trial.stack, trained_on(lab, trial), folder)
        model = graph.inline(graph.without_dropout(model))
        right = none if trial.is_untrained else right_of(model, lab, lab.data.validation)
    except MlcnnError as error:
        if (full := no_room(error)) is not None:
            raise full from None  # which says nothing about the trial
        return Made(trial.key, None, none, str(error), time.time() - begun)
    return Made(trial.key, model, right, "", time.time() - begun)


def trained_on(lab: Lab, trial: Trial) -> Lab:
    """A lab in which each training sees so many images: some of them, or all of them repeatedly.

    Where the cost alone is asked for, a step is trained, and few images say what it came to.
    """
    count, options, data = len(lab.data.training), lab.options, lab.data
    limit = min(trial.images or options.recipe.batch_size, count)
    epochs = max(round(trial.images / count), 1)
    if trial.is_untrained:
        data = replace(data, validation=data.validation.first(_FOR_COST))
    options = replace(
        options,
        recipe=replace(options.recipe, epochs=epochs),
        limit=None if limit == count else limit,
    )
    return replace(lab, data=data, options=options)


def right_of(model: ir.Model, lab: Lab, images: ImageSet, engine: str = "onnxruntime") -> Right:
    """Which images a network has right."""
    found = decisions(model, lab.normal.apply(images.images), engine)
    return np.equal(found, images.labels[: len(found)])


def _silent(done: Done) -> None:
    del done


@dataclass(eq=False)
class Trials:
    """Tries stacks. What is in the journal is not tried again.

    Attributes:
        workers: what makes networks.
        prices: what they cost.
        journal: where each row goes as soon as it is known.
        folder: of the networks.
        tell: told of each trial that is over.
        interrupted: whether the user ends it: what is being measured then is not written.
    """

    workers: Workers
    prices: Prices
    journal: Journal
    folder: Path
    tell: Callable[["Done"], None] = _silent
    known: dict[str, Done] = field(default_factory=dict[str, Done])
    begun: float = field(default_factory=time.time)
    interrupted: Callable[[], bool] = bool

    def __post_init__(self) -> None:
        self._rows = self.journal.known()
        self._before = self.journal.seconds()
        self._written = self.begun

    @property
    def spent(self) -> float:
        """Seconds of this run and of those that it goes on from."""
        return self._before + time.time() - self.begun

    def is_new(self, trial: Trial) -> bool:
        """Whether nothing is known of it."""
        return trial.key not in self.known and trial.key not in self._rows

    def path(self, trial: Trial) -> Path:
        """Of its network."""
        return self.folder / f"{hashlib.sha256(trial.key.encode()).hexdigest()[:16]}.onnx"

    def model(self, done: Done) -> ir.Model:
        """Of a trial that is over, and did not fail."""
        return graph.load_file(self.path(done.trial))

    def note(self, key: str, find: Callable[[], float]) -> float:
        """A number that decides how the search goes on: found once, and kept."""
        return float(self.kept(key, lambda: {"value": find()})["value"])

    def kept(self, key: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Something that is found out once, and kept."""
        if key not in self._rows:
            self._write(key, find())
        return self._rows[key] or {}

    def original(self, model: ir.Model, right: Callable[[], Right]) -> Done:
        """The network as it was, priced."""
        trial = Trial()
        row = self._rows.get(trial.key)
        if row is None:
            begun = time.time()
            price = self.prices.begin(None)
            return self._finish(Done(trial, price, right(), "", time.time() - begun), model)
        done = Done.from_json(trial, row)
        self.prices.begin(done.price)
        self.known[trial.key] = done
        return done

    def peer(self, name: str, make: Callable[[], tuple[ir.Model, Right]]) -> Done:
        """A network of another tool."""
        trial = Trial(peer=name)
        if name in self._rows:
            self.known[name] = Done.from_json(trial, self._rows[name] or {})
            return self.known[name]
        begun = time.time()
        try:
            model, right = make()
        except MlcnnError as error:
            made = Made(name, None, np.zeros(0, bool), str(error), time.time() - begun)
        else:
            made = Made(name, model, right, "", time.time() - begun)
        return self._add(trial, made)

    def run(self, trials: Sequence[Trial]) -> list[Done]:
        """Try those that are not known yet; all of them, in their order."""
        asked = {trial.key: trial for trial in trials}
        new = [key for key in asked if key not in self.known]
        for key, trial in asked.items():
            if key not in self.known and key in self._rows:
                self.known[key] = Done.from_json(trial, self._rows[key] or {})
                self.tell(self.known[key])
        left = [trial for key, trial in asked.items() if key not in self.known]
        try:
            for made in self.workers.map(left) if left else ():
                self._add(asked[made.key], made)
        finally:  # in the order in which they were asked for, whoever was first
            for key in new:
                if key in self.known:
                    self.known[key] = self.known.pop(key)
        return [self.known[key] for key in asked]

    def _add(self, trial: Trial, made: Made) -> Done:
        begun, price, why = time.time(), None, made.why
        if made.model is not None:
            try:
                price = self.prices.of(made.model)
            except MlcnnError as error:
                why = str(error)
        if self.interrupted():  # a search of machines returns the best that it has then
            raise KeyboardInterrupt
        took = made.seconds + time.time() - begun
        return self._finish(Done(trial, price, made.right, why, took), made.model)

    def _finish(self, done: Done, model: ir.Model | None) -> Done:
        """The network first: what is in the journal is there."""
        if model is not None:
            graph.save(model, self.path(done.trial))
        self.known[done.trial.key] = done
        self._write(done.trial.key, done.to_json())
        self.tell(done)
        return done

    def _write(self, key: str, row: dict[str, Any]) -> None:
        now = time.time()
        self.journal.add(len(self._rows), key, row, now - self._written)
        self._rows[key], self._written = row, now
