"""The result of a run in a few short statements, for the top of the page and the terminal."""

from dataclasses import dataclass
from enum import StrEnum

from mlcnn.report.recorded import recorded_difference, recorded_rows
from mlcnn.report.sites import left_alone, places, preparations, rewrites
from mlcnn.report.speed import Speedup, Verdict, result_variant, speedups
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, error, per, percent, plural, printable, ratio, removed
from mlcnn.training.intervals import Accuracy
from mlcnn.zoo import TestedPair

__all__ = ["Fact", "Line", "Mood", "facts", "potential_sentence", "sentence"]


class Mood(StrEnum):
    """How a fact is to be read."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of detail below a fact: what, and how much."""

    what: str
    value: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One result.

    Attributes:
        title: what it is about.
        value: the result in a few characters.
        note: one sentence about it.
        mood: how it is to be read.
        lines: details.
        remains: share that remains of what was there before, for a small bar; None for none.
    """

    title: str
    value: str
    note: str
    mood: Mood = Mood.PLAIN
    lines: tuple[Line, ...] = ()
    remains: float | None = None


def _sites(summary: RunSummary) -> Fact:
    done = rewrites(summary)
    approximate = sum(not rewrite.exact for rewrite in done)
    left = places(left_alone(summary))
    note = f"{plural(left, 'place')} left alone, with the reason" if left else "none left alone"
    lines = (
        Line("exact throughout", str(len(done) - approximate)),
        Line("with approximate steps", str(approximate)),
    )
    return Fact("Layers rewritten", str(len(done)), note, lines=lines if done else ())


def _operations(summary: RunSummary) -> Fact:
    before, after = summary.before, summary.after
    if before.multiplications == 0:
        return Fact("Multiplications", "none", "no layer that multiplies", Mood.MISSING)
    return Fact(
        "Multiplications",
        removed(before.multiplications, after.multiplications),
        f"{amount(before.multiplications)} to {amount(after.multiplications)} "
        f"{per(summary.images)}",
        lines=(
            Line("additions", removed(before.additions, after.additions)),
            Line("additions before", amount(before.additions)),
            Line("additions after", amount(after.additions)),
        ),
        remains=min(after.multiplications / before.multiplications, 1.0),
    )


def _span(found: tuple[Speedup, ...]) -> str:
    low, high = ratio(min(f.value for f in found)), ratio(max(f.value for f in found))
    return low if low == high else f"{low.removesuffix('x')} to {high}"


def _noisy(found: tuple[Speedup, ...]) -> int:
    return sum(f.verdict is Verdict.WITHIN_NOISE for f in found)


def _share(noisy: int, found: tuple[Speedup, ...]) -> str:
    return f"{noisy} of {len(found)} within noise"


def _engine_line(engine: str, found: tuple[Speedup, ...]) -> Line:
    own = tuple(f for f in found if f.engine == engine)
    noisy = any(f.verdict is Verdict.WITHIN_NOISE for f in own)
    return Line(printable(engine), _span(own) + (" (noise)" if noisy else ""))


def _speed(summary: RunSummary) -> Fact:
    variant = result_variant(summary)
    found = speedups(summary, variant=variant)
    if not found:
        return Fact("Speed", "not measured", "no engine timed both networks", Mood.MISSING)
    against = f"{variant} against original"
    lines = tuple(_engine_line(engine, found) for engine in dict.fromkeys(f.engine for f in found))
    noisy = _noisy(found)
    if noisy == len(found):
        return Fact("Speed", "no difference", f"{against}: all within noise", Mood.WARN, lines)
    verdicts = {f.verdict for f in found}
    mood = Mood.WARN
    if verdicts == {Verdict.FASTER}:
        mood = Mood.GOOD
    elif Verdict.SLOWER in verdicts:
        mood = Mood.BAD
    note = f"{against}; {_share(noisy, found)}" if noisy else against
    return Fact("Speed", _span(found), note, mood, lines)


def _tidied(summary: RunSummary) -> str:
    """The passes that changed something which is no site."""
    return " and ".join(name for name, _ in preparations(summary)) or "no pass"


def _exactness(summary: RunSummary) -> Fact:
    check = summary.exactness
    title = "Exactness"
    if check.max_error is None:
        return Fact(title, "not checked", "no exact pass rewrote a site", Mood.MISSING)
    where = f"at {plural(check.sites, 'place')}, {check.dtype}"
    if not rewrites(summary):
        where += f", of {_tidied(summary)}"
    lines = (Line("tolerance", error(check.tolerance)),)
    if check.stored_error is not None:
        lines += (Line("with stored weights", error(check.stored_error)),)
    if check.network:
        lines += (Line("whole network, ONNX Runtime", check.network),)
    if check.vacuous:
        return Fact(title, "vacuous", f"the check could not see an error {where}", Mood.WARN, lines)
    value = error(check.max_error)
    if not check.ok:
        return Fact(title, value, f"above the tolerance {where}", Mood.BAD, lines)
    return Fact(title, value, f"largest relative error {where}", Mood.GOOD, lines)


def _top1(measured: Accuracy) -> str:
    return f"{100 * measured.top1:.2f} %"


def _recorded(pair: TestedPair, measured: tuple[Accuracy, ...]) -> Fact:
    """The whole test set's figure stands first: the run's own images are few."""
    before, after = recorded_rows(pair)
    found = recorded_difference(pair)
    low, high = found.interval
    lines = [Line(row.variant, _top1(row)) for row in (before, after)]
    lines.append(Line("interval", f"{100 * low:+.2f} to {100 * high:+.2f}"))
    if len(measured) > 1:
        here = 100 * (measured[-1].top1 - measured[0].top1)
        lines.append(Line(f"{measured[0].images:,} here", f"{here:+.2f} points"))
    note = f"top-1, all {plural(pair.images, 'image')} of {printable(pair.dataset)}, recorded"
    mood = Mood.BAD if high < 0 else Mood.PLAIN
    return Fact("Accuracy", f"{100 * found.top1:+.2f} points", note, mood, tuple(lines))


def _accuracy(summary: RunSummary) -> Fact:
    title = "Accuracy"
    if summary.tested is not None:
        return _recorded(summary.tested, summary.accuracy or ())
    if not summary.accuracy:
        return Fact(title, "not measured", "no data was given", Mood.MISSING)
    first = summary.accuracy[0].dataset
    rows = [row for row in summary.accuracy if row.dataset == first]
    before, after = rows[0], rows[-1]
    lines = tuple(Line(row.variant, _top1(row)) for row in rows)
    points = 100 * (after.top1 - before.top1)
    value = f"{points:+.2f} points" if len(rows) > 1 else _top1(before)
    # Two intervals apart is a strict test: what fails it may be chance.
    worse = after.interval[1] < before.interval[0]
    note = f"top-1, {plural(before.images, 'image')} of {printable(first)}"
    return Fact(title, value, note, Mood.BAD if worse else Mood.PLAIN, lines)


def facts(summary: RunSummary) -> tuple[Fact, ...]:
    """The results that matter most, in order."""
    return (
        _speed(summary),
        _operations(summary),
        _sites(summary),
        _exactness(summary),
        _accuracy(summary),
    )


def _nothing_rewritten(summary: RunSummary) -> str:
    tidied = preparations(summary)
    where = "the network has no site where these passes gain anything."
    if not tidied:
        return f"Nothing was rewritten: {where}"
    places = sum(count for _, count in tidied)
    return (
        f"No layer was rewritten: {where} {_tidied(summary)} tidied up {plural(places, 'place')}, "
        "which takes no multiplication away from a layer."
    )


def _speed_words(found: tuple[Speedup, ...]) -> str:
    noisy = _noisy(found)
    if noisy == len(found):
        return f"no measurable gain in speed ({_span(found)}, all within noise)"
    text = f"{_span(found)} the speed of the original network"
    return f"{text} ({_share(noisy, found)})" if noisy else text


def sentence(summary: RunSummary) -> str:
    """What the run came to, in one or two sentences."""
    done = rewrites(summary)
    if not done:
        return _nothing_rewritten(summary)
    before, after = summary.before.multiplications, summary.after.multiplications
    gone = percent((before - after) / before) if before else "0 %"
    text = f"{plural(len(done), 'layer')} rewritten; {gone} of all multiplications are gone"
    found = speedups(summary, variant=result_variant(summary))
    if found:
        text += f"; {_speed_words(found)}"
    if not summary.accuracy and any(not rewrite.exact for rewrite in done):
        text += (
            ". Approximate passes took part, so the outputs differ; the accuracy was not measured"
        )
    return text + "."


def potential_sentence(summary: RunSummary) -> str:
    """What the approximate passes would add, or nothing."""
    potential = summary.potential
    if potential is None or potential.sites == 0:
        return ""
    before = summary.after.multiplications
    return (
        f"With fine-tuning, the approximate passes could fuse {plural(potential.sites, 'layer')} "
        f"more and remove {amount(potential.multiplications)} further multiplications"
        + (f" ({removed(before, before - potential.multiplications)})." if before else ".")
    )
