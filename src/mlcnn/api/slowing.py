"""How much longer one network takes than another, in each engine: trial by trial."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from mlcnn import engines
from mlcnn.api.benchmarking import MeasureOptions, Setting, fixed_batch, settings
from mlcnn.api.optimizing import Progress
from mlcnn.engines.slowdown import LOOKS, Slowdown, slowdown
from mlcnn.passes.extremes import extremes

__all__ = ["slowdowns"]

_LOGGER = logging.getLogger(__name__)
_ROUNDS = 3
_QUICKLY_S = 2.0
_FINE_S = 1e-6

Run = Callable[[], object]


def slowdowns(
    after: ir.Model, before: ir.Model, options: MeasureOptions, limit: float, tell: Progress
) -> Iterator[tuple[str, Slowdown]]:
    """Time a network against another in each engine at each batch size.

    Args:
        after: the network.
        before: what it is compared with, of the same inputs. Where what runs depends on the image,
            the worst case of both is timed.
        options: on what to measure; ``budget_s`` is of as many trials as the first look takes.
        limit: the largest ratio of times that is allowed.
        tell: told how the work goes on.

    Yields:
        Where it was measured, and what the trials say.
    """
    fixed = after if fixed_batch(after) else before
    chosen = settings(fixed, options)
    pair = tuple(next(iter(extremes(model).values()), model) for model in (after, before))
    for setting in chosen:
        _LOGGER.info("time in %s, batch %d", setting.engine, setting.batch)
        where = f"{setting.engine}, batch {setting.batch}"
        trials = _Trials(
            pair[0],
            pair[1],
            setting,
            options,
            engines.random_inputs(fixed, setting.batch, seed=options.seed),
        )

        def trial(number: int, trials: "_Trials" = trials, where: str = where) -> float:
            tell(f"trials in {where}", number, LOOKS[-1])
            found = trials.ratio(number)
            _LOGGER.debug("%s, trial %d: %.4f times the time", where, number, found)
            return found

        yield where, slowdown(trial, limit)


@dataclass(slots=True)
class _Trials:
    """Two networks, made ready anew for each trial.

    What a network takes depends on where its memory happens to lie: what stays for a session is
    noise as well, and only other sessions show it.
    """

    after: ir.Model
    before: ir.Model
    setting: Setting
    options: MeasureOptions
    inputs: engines.Arrays
    ready: dict[str, Run] = field(default_factory=dict[str, Run])
    took_s: float = 0.0

    def ratio(self, number: int) -> float:
        """Time of the network over that of the other, in one trial."""
        if not self.ready or self.took_s <= _QUICKLY_S or number in LOOKS:
            self._prepare(first_after=number % 2 == 1)
        times = engines.interleave(
            self.ready,
            budget_s=self.options.budget_s / LOOKS[0],
            min_rounds=_ROUNDS,
            seed=number // 2,  # the second of two trials runs in the mirrored order
            clock=self._clock(),
        )
        return engines.ratio(times["after"], times["before"]).value

    def _prepare(self, *, first_after: bool) -> None:
        """Make both ready, in turn the one and the other first."""
        start = time.perf_counter()
        models = [("before", self.before), ("after", self.after)]
        self.ready = {
            name: self._ready(model) for name, model in (models[::-1] if first_after else models)
        }
        self.took_s = time.perf_counter() - start

    def _ready(self, model: ir.Model) -> Run:
        shapes = {name: array.shape for name, array in self.inputs.items()}
        engine = engines.get(self.setting.engine, self.options.precision)
        session = engine.prepare(
            engines.fix_shapes(model, shapes),
            threads=self.options.threads,
            device=self.options.device,
        )
        return session.runner(self.inputs)

    def _clock(self) -> engines.Clock:
        """Of one thread the time that it computes, without that when others had the processor."""
        alone = self.options.threads == 1 and self.options.device == "cpu"
        is_fine = time.get_clock_info("process_time").resolution <= _FINE_S
        return time.process_time_ns if alone and is_fine else time.perf_counter_ns
