"""What is asked of ``cheapest``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlcnn import engines, tasks
from mlcnn.api.stacking import KINDS
from mlcnn.api.stacking.kind import Kind
from mlcnn.errors import InputError, did_you_mean
from mlcnn.frontier.budget import Budget

__all__ = ["ENGINES", "RAY", "CheapestOptions", "Objective"]

RAY = tasks.RayWords(
    "--workers ray", "or train in processes of this machine alone: --workers local --processes N"
)

ENGINES = ("onnxruntime", "openvino", "native")
"""Those that a network may end up in, where none is named."""


class Objective(StrEnum):
    """What is made small."""

    LATENCY = "latency"
    ENERGY = "energy"
    AREA = "area"
    SIZE = "size"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class CheapestOptions:
    """What is made small, what may be lost for it, and how long the search may take.

    Attributes:
        objective: one of ``Objective``, or two with a comma between: a front of both.
        max_drop: percentage points of accuracy that may be lost, on the same images.
        budget_s: seconds for everything.
        methods: names of steps (``mlcnn list steps``), or ``all``.
        engines: where latency counts; all of ``ENGINES`` that are installed, for none.
        on: the machine that energy is evaluated on; with a template, what it is compared with.
        template: of machines to be designed for the network, for energy and area.
        threads: of an engine.
        seed: of the training.
        first: images that the first round of training sees; from the budget for None.
        predict: whether predictions say what is trained; else a draw does.
        workers: ``local``, or ``ray``.
        processes: that make networks; measuring stays in this one.
        address: of a cluster of Ray; see ``ExploreOptions``.
        torch_threads: of each such process; for None this one's are divided among them.
    """

    objective: str = "latency"
    max_drop: float = 1.0
    budget_s: float = 1800.0
    methods: Sequence[str] = ("all",)
    engines: tuple[str, ...] = ()
    on: str | None = None
    template: str | None = None
    threads: int = 1
    seed: int = 0
    first: int | None = None
    predict: bool = True
    workers: str = "local"
    processes: int = 1
    address: str | None = None
    torch_threads: int | None = None

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is made small.

        Raises:
            InputError: unknown, twice the same, more than two, or not to be had.
        """
        names = [name.strip() for name in self.objective.split(",")]
        known = [str(one) for one in Objective]
        for name in names:
            if name not in known:
                raise InputError(
                    f"--objective {self.objective}: {name!r} is none{did_you_mean(name, known)}; "
                    f"known: {', '.join(known)}"
                )
        if len(names) > 2 or len(set(names)) < len(names):
            raise InputError(f"--objective {self.objective}: one, or two different ones")
        found = tuple(map(Objective, names))
        self._require_machine(found)
        return found

    def _require_machine(self, found: Sequence[Objective]) -> None:
        if Objective.AREA in found and self.template is None:
            raise InputError(
                f"--objective {self.objective}: the area of a machine is the same for every "
                "network; give --template mlcnn (or gemmini, eyeriss, dense): the least area that "
                "runs the network as fast"
            )
        if Objective.ENERGY in found and self.on is None and self.template is None:
            raise InputError(
                f"--objective {self.objective}: energy on which machine? give --on mlcnn-int8, or "
                "--template mlcnn for one to be designed"
            )
        if self.engines and Objective.LATENCY not in found:
            raise InputError(
                f"--engine {','.join(self.engines)}: an engine is where latency counts, and the "
                f"objective is {self.objective}; leave one of them out"
            )

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The steps that may be taken.

        Raises:
            InputError: an unknown one.
        """
        if tuple(self.methods) == ("all",):
            return tuple(KINDS.values())
        for name in self.methods:
            if name not in KINDS:
                raise InputError(
                    f"--methods: unknown method {name!r}{did_you_mean(name, KINDS)}; known: all, "
                    f"{', '.join(KINDS)}"
                )
        return tuple(kind for kind in KINDS.values() if kind.name in self.methods)

    def require(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            InputError: an option is out of range.
            UnsupportedError: an engine, or Ray, is not installed.
        """
        Budget(self.max_drop)
        _ = self.objectives, self.kinds
        if not 0 < self.budget_s < math.inf:
            raise InputError(f"--budget {self.budget_s:g} s: a positive time is required")
        if self.threads < 1 or self.processes < 1:
            raise InputError("--threads and --processes: 1 or more")
        if self.first is not None and self.first < 1:
            raise InputError(f"--first {self.first}: 1 or more images")
        self._require_workers()
        for name in self.engines:
            engines.get(name)

    def _require_workers(self) -> None:
        if self.workers not in {"local", "ray"}:
            raise InputError(f"--workers {self.workers}: local or ray")
        if self.address is not None and self.workers != "ray":
            raise InputError(f"--address {self.address}: it is of --workers ray; give that, too")
        if self.address is not None and self.processes != 1:
            raise InputError(
                f"--processes {self.processes}: they are of this machine, and the cluster at "
                f"--address {self.address} has its own; leave one of the two out"
            )
        if self.workers == "ray":
            tasks.require_ray(RAY)

    @property
    def on_machines(self) -> bool:
        """Whether it is a machine that the network is to be cheap on."""
        return bool({Objective.ENERGY, Objective.AREA} & {*self.objectives})

    @property
    def where(self) -> tuple[str, ...]:
        """The engines in which latency counts."""
        return self.engines or tuple(name for name in ENGINES if name in engines.available())
