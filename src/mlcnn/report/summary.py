"""What a report shows: the result of one run, as plain data.

Everything here is measured or computed elsewhere; a report only arranges and draws it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlcnn.accelerators import Evaluation
from mlcnn.counting import CountReport, Operations
from mlcnn.engines import LayerAlgorithm
from mlcnn.passes import Change, Skipped
from mlcnn.report.drawing.around import Neighbourhood
from mlcnn.training.intervals import Accuracy
from mlcnn.zoo import TestedPair

__all__ = [
    "ORIGINAL",
    "RESULT",
    "Exactness",
    "Latency",
    "Potential",
    "RunSummary",
    "Unavailable",
    "ordered",
]


ORIGINAL = "original"
"""What the network is called as it was loaded."""

RESULT = "result"
"""What it is called after all passes; between the two stand the names of stages."""


def ordered(variants: Iterable[str]) -> tuple[str, ...]:
    """Each state of a network once, in the order in which passes made them.

    Args:
        variants: names; those between the original and the result are in order already.
    """
    return tuple(sorted(dict.fromkeys(variants), key=lambda v: (v == RESULT) - (v == ORIGINAL)))


@dataclass(frozen=True, slots=True)
class Exactness:
    """The check of the exact passes at the output of every site that they rewrote.

    Attributes:
        max_error: largest difference, relative to the largest value; None if not checked.
        tolerance: the largest error that passes the check.
        vacuous: whether the check could not have seen an error (constant outputs).
        sites: number of sites compared.
        dtype: number format of the check.
        stored_error: the same with the weights as the network stores them; None if not checked.
        network: what running the whole network before and after showed; empty if it was not run.
    """

    max_error: float | None = None
    tolerance: float = 1e-12
    vacuous: bool = False
    sites: int = 0
    dtype: str = "float64"
    stored_error: float | None = None
    network: str = ""

    @property
    def ok(self) -> bool:
        """Whether the check was made, could see an error, and saw none."""
        return self.max_error is not None and not self.vacuous and self.max_error <= self.tolerance


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one variant of the network in one engine.

    Attributes:
        engine: the engine's name.
        variant: which state of the network: ``original``, the stages that made it, ``result``.
        batch: images per run.
        threads: threads that the engine may use.
        median_ms: median over the runs.
        q1_ms: first quartile.
        q3_ms: third quartile.
        samples_ms: the single measurements, round by round, in the same rounds as those of the
            setting's other variants; empty if they were not kept.
        algorithms: how the engine computes each layer, if it tells.
        precision: of the numbers that the engine computes in, as ``fp32`` or ``int8``.
    """

    engine: str
    variant: str
    batch: int
    threads: int
    median_ms: float
    q1_ms: float
    q3_ms: float
    samples_ms: tuple[float, ...] = ()
    algorithms: tuple[LayerAlgorithm, ...] = ()
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if not 0 < self.q1_ms <= self.median_ms <= self.q3_ms < math.inf:
            msg = f"latency needs 0 < q1_ms <= median_ms <= q3_ms, finite, got {self}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """An engine that was asked for and could not run the network."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Potential:
    """What the approximate passes would add, at the price of fine-tuning.

    Attributes:
        sites: further layers that could be fused.
        multiplications: further multiplications that would go, for one image.
    """

    sites: int
    multiplications: int


_NO_COUNTS = CountReport(())
_NOT_CHECKED = Exactness()


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The result of one run on one network.

    Attributes:
        model_name: short name of the network.
        source: where it came from: a zoo name, a path, ``package.module:callable``.
        pipeline: the passes, as text that can be run again.
        command: the command that repeats the run.
        seed: seed of everything random in it.
        versions: package -> version.
        machine: the machine in words, where latencies were measured.
        created: date and time, or empty for a report that is the same every time.
        changes: rewritten places, over all passes in order.
        skipped: places left alone, with the reason.
        counts: multiplications and additions per layer, in the network's order.
        exactness: the check of the exact passes.
        latencies: measured latencies.
        noise: what makes the latencies less certain.
        unavailable: engines that could not run.
        accuracy: accuracies, or None where no data was given.
        tested: what the embedded weights reach on the whole test set; None for others.
        evaluations: the network on accelerators, all against the same other one, at the same
            batch and with the same tables; there every layer is fused that can be.
        potential: what fine-tuning would gain; None where nothing or not asked.
        warnings: what the reader must know.
        places: where the network differs now, to be drawn.
        output: file name of the rewritten network, where it was saved.
    """

    model_name: str
    source: str
    pipeline: str
    command: str
    seed: int
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    machine: str = ""
    created: str = ""
    changes: tuple[Change, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    counts: CountReport = _NO_COUNTS
    exactness: Exactness = _NOT_CHECKED
    latencies: tuple[Latency, ...] = ()
    noise: tuple[str, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()
    accuracy: tuple[Accuracy, ...] | None = None
    tested: TestedPair | None = None
    evaluations: tuple[Evaluation, ...] = ()
    potential: Potential | None = None
    warnings: tuple[str, ...] = ()
    places: tuple[Neighbourhood, ...] = ()
    output: str = ""

    @property
    def images(self) -> int:
        """Number of images that the counts are for."""
        return self.counts.images

    @property
    def before(self) -> Operations:
        """What the original network computes."""
        return self.counts.before

    @property
    def after(self) -> Operations:
        """What the network computes in the forms that were chosen."""
        return self.counts.after
