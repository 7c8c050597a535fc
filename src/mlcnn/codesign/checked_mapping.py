"""A mapping that the user gives: its score, what does not fit, and what would help."""

from dataclasses import dataclass

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.checking import Misfit, Move, misfits, smallest_move
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.mapping import Mapping, check_factors
from mlcnn.codesign.scored_mapping import ScoredMapping, scored_mapping
from mlcnn.workload import LoopNest

__all__ = ["Checked", "check_mapping"]


@dataclass(frozen=True, slots=True, repr=False)
class Checked(ScoredMapping):
    """A given mapping.

    Attributes:
        misfits: what does not fit; nothing where all does.
        move: the smallest change of the mapping after which it fits; None where no single factor
            that goes outwards makes it fit, or where it fits.
    """

    misfits: tuple[Misfit, ...]
    move: Move | None

    @property
    def fits(self) -> bool:
        """Whether the machine can run it."""
        return not self.misfits

    @property
    def told(self) -> str:
        """Whether it fits."""
        return "it fits" if self.fits else "it does not fit"

    @property
    def help(self) -> tuple[str, ...]:
        """What would make it fit, in words."""
        if self.fits:
            return ()
        levers = "; ".join(one.lever for one in self.misfits)
        if self.move is None:
            return (f"no single factor that goes outwards makes it fit; or {levers}",)
        text = self.move.mapping.text(self.architecture)
        return (f"{self.move}: {text}", f"or {levers}")

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn map --check --json`` prints."""
        move = self.move
        change = None
        if move is not None:
            change = {
                "dim": move.dim,
                "factor": move.factor,
                "from": move.source,
                "side_by_side": move.spatial,
                "to": move.target,
                "mapping": move.mapping.text(self.architecture),
            }
        return ScoredMapping.to_json(self) | {
            "fits": self.fits,
            "misfits": [one.to_json() for one in self.misfits],
            "change": change,
        }


def check_mapping(
    nest: LoopNest, architecture: Architecture, mapping: Mapping, rule: Convention
) -> Checked:
    """Score a given mapping, and see whether it fits.

    Args:
        nest: the layer.
        architecture: the machine.
        mapping: of its levels.
        rule: what is counted.

    Raises:
        InputError: factors do not make up the dimensions, a level does not take what is kept, or
            counts are beyond what float64 holds exactly.
    """
    check_factors(mapping, nest)
    one = scored_mapping(nest, architecture, mapping, rule)
    wrong = misfits(nest, architecture, one.batch, rule)
    move = smallest_move(nest, architecture, one.batch, rule) if wrong else None
    return Checked(nest, nest, architecture, rule, mapping, one.batch, one.score, wrong, move)
