"""Figures 3, 4 and 12 of [MLCNN]: accuracies by form and precision, and the paper's claims."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlcnn.reproduce.reproduction import Beside, Reproduction
from mlcnn.reproduce.reproduction import Cell as TableCell
from mlcnn.reproduce.study.claims import Claim, Judged, Verdict, claims_of, judged_claims, overall
from mlcnn.reproduce.study.plan import FP32, load_study
from mlcnn.reproduce.study.records import Cell, Run
from mlcnn.reproduce.study.statistics import Estimate, mean_over_seeds

__all__ = ["FIGURES", "Average", "averages", "reproduce_study"]

# What each figure shows: forms and precisions.
FIGURES = {
    "figure-3": (("original", "reordered", "all-conv"), (FP32,)),
    "figure-4": (("max", "original"), (FP32,)),
    "figure-12": (("original", "reordered"), (FP32, "fp16", "int8", "w4a4", "w2a2")),
}
"""The figures of the study: which forms and precisions each shows."""

_CONDITIONS = (
    "the paper prints these accuracies as bars without numbers; recipes are ours (study.toml)"
)


@dataclass(frozen=True, slots=True)
class Average:
    """The runs of one place of the matrix.

    Attributes:
        cell: the place.
        top1: mean accuracy, 0 to 1; None where nothing was run.
        top5: likewise.
        epochs: of training; None where nothing was run.
        device: where they were trained.
    """

    cell: Cell
    top1: Estimate | None = None
    top5: Estimate | None = None
    epochs: int | None = None
    device: str = ""


def averages(what: str, runs: Sequence[Run]) -> tuple[Average, ...]:
    """What a figure shows, those places that were not run too.

    Args:
        what: name of the figure.
        runs: the records.
    """
    forms, precisions = FIGURES[what]
    claimed = claims_of(what)
    networks = list(dict.fromkeys(name for claim in claimed for name in claim.networks))
    # Networks that the paper's figure has not, but the records have, stand behind its own.
    networks += sorted({run.cell.network for run in runs} - set(networks))
    datasets = sorted({claim.dataset for claim in claimed}, key=len)
    study = load_study()
    return tuple(
        _average(Cell(network, dataset, form, precision), runs)
        for network in networks
        for dataset in datasets
        for form in forms
        if network not in study.networks or form in study.networks[network].forms
        for precision in precisions
    )


def _average(cell: Cell, runs: Sequence[Run]) -> Average:
    mine = [run for run in runs if run.cell == cell]
    if not mine:
        return Average(cell)
    images = len(mine[0].right)
    known = [run.top5 for run in mine if run.top5 is not None]
    return Average(
        cell,
        mean_over_seeds([run.top1 for run in mine], images),
        mean_over_seeds(known, images) if len(known) == len(mine) else None,
        max(len(run.epochs) for run in mine) or None,
        ", ".join(sorted({str(run.where.get("device", "")) for run in mine})),
    )


def reproduce_study(what: str, runs: Sequence[Run]) -> Reproduction:
    """Reproduce ``figure-3``, ``figure-4`` or ``figure-12`` from recorded runs.

    Args:
        what: name of the figure.
        runs: the records.

    Raises:
        InputError: two runs that are to be compared were trained by different recipes.
    """
    rows = averages(what, runs)
    judged = judged_claims(what, runs)
    tables = [_accuracies([row for row in rows if row.top1 is not None]), _claims(judged)]
    tables += [_differences(judged), _missing([row for row in rows if row.top1 is None])]
    return Reproduction(what, (), _CONDITIONS, tuple(table for table in tables if table.rows))


def _accuracies(rows: Sequence[Average]) -> Beside:
    return Beside(
        "accuracy of our runs on all test images: mean over the seeds with Student's 95 % "
        "interval, of a single run Wilson's",
        ("network", "data", "form", "precision", "top-1, %", "95 % interval", "top-5, %", "seeds",
         "epochs", "device"),
        tuple(
            (
                row.cell.network, row.cell.dataset, row.cell.form, row.cell.precision,
                *_percent(row.top1), None if row.top5 is None else 100 * row.top5.value,
                None if row.top1 is None else row.top1.runs, row.epochs, row.device,
            )
            for row in rows
        ),
    )  # fmt: skip


def _percent(found: Estimate | None) -> tuple[TableCell, TableCell]:
    if found is None:
        return None, None
    return 100 * found.value, f"{100 * found.low:.2f} to {100 * found.high:.2f}"


def _claims(judged: Sequence[tuple[Claim, tuple[Judged, ...]]]) -> Beside:
    return Beside(
        "what the paper says of it, and what our runs say",
        ("claim", "the paper", "our runs", "of which", "source", "our reading"),
        tuple(
            (
                f"{claim.item} ({claim.scope})", claim.printed,
                overall(claim.scope, [one.verdict for one in ours]).value,
                _counted([one.verdict for one in ours]), claim.source, claim.note,
            )
            for claim, ours in judged
        ),
    )  # fmt: skip


def _counted(verdicts: Sequence[Verdict]) -> str:
    counts = ((verdicts.count(verdict), verdict) for verdict in Verdict)
    return ", ".join(f"{count} {verdict}" for count, verdict in counts if count)


def _differences(judged: Sequence[tuple[Claim, tuple[Judged, ...]]]) -> Beside:
    return Beside(
        "differences of our runs in points of accuracy, paired by seed and test image, with their "
        "95 % interval (bootstrap; top 5 Student's), and the bound that the claim sets",
        ("claim", "network", "difference", "95 % interval", "at least", "pairs", "our runs"),
        tuple(
            (
                one.claim.item, one.network, found.value, f"{found.low:+.2f} to {found.high:+.2f}",
                one.claim.at_least, found.runs, one.verdict.value,
            )
            for _, ours in judged
            for one in ours
            if (found := one.difference) is not None
        ),
    )  # fmt: skip


def _missing(rows: Sequence[Average]) -> Beside:
    """What was not run, and the command that runs it."""
    cells: dict[tuple[str, str], list[Cell]] = {}
    for row in rows:
        cells.setdefault((row.cell.network, row.cell.dataset), []).append(row.cell)
    return Beside(
        "not run; the command that runs it (records go to --out; `mlcnn reproduce --runs` "
        "shows them)",
        ("network", "data", "forms", "command"),
        tuple(
            (network, dataset, ", ".join(dict.fromkeys(c.form for c in group)), _command(group))
            for (network, dataset), group in cells.items()
        ),
    )


def _command(cells: Sequence[Cell]) -> str:
    precisions = dict.fromkeys(cell.precision for cell in cells)
    forms = dict.fromkeys(cell.form for cell in cells)
    options = [f"--form {form}" for form in forms]
    if [*precisions] != [FP32]:  # the others start from its weights
        options += [f"--precision {name}" for name in dict.fromkeys([FP32, *precisions])]
    return " ".join(["mlcnn study", cells[0].network, f"--data {cells[0].dataset}", *options])
