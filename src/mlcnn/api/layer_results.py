"""One layer of a network that was made smaller, before and after."""

from dataclasses import asdict, dataclass

from mlcnn.frontier import LayerSize, LayerTime

__all__ = ["SURELY_FASTER", "LayerResult"]

SURELY_FASTER = 1.03
"""Times as fast at least: by more than a chance of layout."""


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One layer before and after.

    Attributes:
        name: the layer's name.
        before: what it stored and computed; None for one that was not there.
        after: what it stores and computes; None for one that is gone.
        times: measured alone, engine by engine; empty where nothing was measured.
    """

    name: str
    before: LayerSize | None
    after: LayerSize | None
    times: tuple[LayerTime, ...] = ()

    @property
    def is_smaller(self) -> bool:
        """Whether it multiplies less where zeros count for nothing."""
        if self.before is None or self.after is None:
            return self.after is None
        return self.after.multiplications < self.before.multiplications

    @property
    def faster_in(self) -> tuple[str, ...]:
        """The engines in which it is surely faster, and by more than a chance of layout."""
        return tuple(time.engine for time in self.times if time.speedup.low > SURELY_FASTER)

    @property
    def told(self) -> str:
        """Whether it is faster, in words; empty where that was not measured."""
        if not self.times:
            return ""
        if not self.faster_in:
            return "smaller, not faster in any engine" if self.is_smaller else ""
        return f"faster in {', '.join(self.faster_in)}"

    def to_json(self) -> dict[str, object]:
        """One entry of ``layers``."""
        return {
            "name": self.name,
            "before": None if self.before is None else asdict(self.before),
            "after": None if self.after is None else asdict(self.after),
            "latency_ms": {
                time.engine: {
                    "before": time.before_ms,
                    "after": time.after_ms,
                    "speedup": [time.speedup.value, time.speedup.low, time.speedup.high],
                }
                for time in self.times
            },
            "smaller": self.is_smaller,
            "faster_in": list(self.faster_in),
        }
