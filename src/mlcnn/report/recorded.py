"""What embedded weights reach on the whole test set, beside what a run measured."""

from mlcnn.report.summary import ORIGINAL, RESULT
from mlcnn.report.wording import plural, printable
from mlcnn.training.intervals import Accuracy, Difference, difference, points
from mlcnn.zoo import TestedPair, TrainingRun

__all__ = [
    "record_sentences",
    "recorded_difference",
    "recorded_json",
    "recorded_rows",
]


def recorded_difference(pair: TestedPair) -> Difference:
    """The difference of the two networks on the images of the record, with its interval."""
    return difference(pair.only_reordered, pair.only_original, pair.images)


def recorded_rows(pair: TestedPair) -> tuple[Accuracy, Accuracy]:
    """The two networks as accuracies on the whole test set.

    The rewritten one was judged before its exact passes, which move no output.
    """
    return (
        Accuracy(ORIGINAL, pair.dataset, pair.images, pair.original / pair.images),
        Accuracy(RESULT, pair.dataset, pair.images, pair.reordered / pair.images),
    )


def recorded_json(pair: TestedPair) -> dict[str, object]:
    """The record as ``mlcnn run --json`` prints it."""
    runs = (pair.original_runs, pair.reordered_runs)
    found = recorded_difference(pair)
    return {
        "dataset": pair.dataset,
        "images": pair.images,
        "rows": [
            {
                "variant": row.variant,
                "top1": row.top1,
                "interval": list(row.interval),
                "runs": [run.test for run in of],
            }
            for row, of in zip(recorded_rows(pair), runs, strict=True)
        ],
        "difference": {"top1": found.top1, "interval": list(found.interval)},
    }


def _share(measured: Accuracy) -> str:
    """An accuracy with its interval, as ``77.21 % (76.38 to 78.02)``."""
    low, high = measured.interval
    return f"{100 * measured.top1:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def _span(runs: tuple[TrainingRun, ...]) -> str:
    """From the worst to the best run on the test set, as ``76.70 to 77.23 %``."""
    tested = [100 * run.test for run in runs]
    return f"{min(tested):.2f} to {max(tested):.2f} %"


def record_sentences(pair: TestedPair, measured: tuple[Accuracy, ...] | None) -> tuple[str, ...]:
    """The record in words, and beside it what the run measured.

    Args:
        pair: the record.
        measured: accuracies of the run; None where nothing was measured.
    """
    original, result = recorded_rows(pair)
    reached = (
        f"accuracy on all {pair.images:,} images of {printable(pair.dataset)}, recorded when the "
        f"weights were trained: original {_share(original)}, result {_share(result)}, "
        f"difference {points(recorded_difference(pair))}"
    )
    runs = len(pair.original_runs)
    spread = (
        f"over {plural(runs, 'seed')}: original {_span(pair.original_runs)}, result "
        f"{_span(pair.reordered_runs)}"
    )
    here = ", ".join(f"{row.variant} {_share(row)}" for row in measured or ())
    if not measured or not here:
        return reached, spread
    first = measured[0]
    return (
        reached,
        spread,
        f"here, on {first.images:,} images of {printable(first.dataset)}: {here}",
    )
