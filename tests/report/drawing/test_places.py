"""The section of the page that draws places, and the drawings in a real browser."""

import json
import re
from dataclasses import replace
from pathlib import Path

from report.conftest import HOSTILE
from report.drawing.graphs import BRANCHES, CHAIN, CONV, network
from report.drawing.test_around import FUSED
from report.test_browser import browser, open_page  # noqa: F401 - a fixture
from report.test_page import Reader

from mlcnn.report import RunSummary, render
from mlcnn.report.drawing import Neighbourhood, compare, drawings, neighbourhoods
from mlcnn.report.page import write_page
from mlcnn.report.sections.places import places_section

SPLIT = f"""
[first] c = Conv {CONV} (x, w)
[left] a = mlcnn.Fused (c, v)
[right] b = mlcnn.Fused (c, u)
[sum] y = Add (a, b)
"""


def found() -> tuple[Neighbourhood, ...]:
    """A site in a row, and one in two branches."""
    pairs = ((CHAIN, FUSED, "m=4"), (BRANCHES, SPLIT, "a=4 b=4"))
    return tuple(
        place
        for before, after, known in pairs
        for place in neighbourhoods(compare(network(before), network(after, known)))
    )


def summary(places: tuple[Neighbourhood, ...]) -> RunSummary:
    return RunSummary("small", "small", "", "mlcnn run small", 0, places=places)


def hostile(places: tuple[Neighbourhood, ...]) -> tuple[Neighbourhood, ...]:
    def spoil(side):
        return replace(
            side,
            boxes=tuple(
                replace(b, name=HOSTILE, operator=HOSTILE, detail=HOSTILE, shape=HOSTILE, note="a")
                for b in side.boxes
            ),
        )

    return tuple(
        replace(one, before=spoil(one.before), after=spoil(one.after), alike=((HOSTILE,),))
        for one in places
    )


def test_a_page_says_in_words_what_it_draws() -> None:
    page = Reader(render(summary(found())))
    text = " ".join("".join(page.text).split())
    assert page.problems == []
    assert "Went: Conv first, MaxPool pool" in text
    assert "Came: mlcnn.Fused first_fused" in text
    assert "Changed: Relu relu (output N×4×8×8 to N×4×4×4)" in text
    described = [a["aria-label"] for a in page.all("div") if a.get("class") == "drawing"]
    assert described[0] == (
        "Before, from top to bottom: Input x; Conv first, removed; Relu relu (output N x 4 x 8 x 8 "
        "to N x 4 x 4 x 4), changed; MaxPool pool, removed; Conv second."
    )


def test_equal_networks_give_equal_pages() -> None:
    assert render(summary(found())) == render(summary(found()))


def test_without_places_there_is_no_section() -> None:
    assert places_section((), "title") is None
    assert "places" not in [a["id"] for a in Reader(render(summary(()))).all("section")]


def test_many_places_are_named_and_not_drawn() -> None:
    section = places_section(found() * 10, "title")
    assert section is not None
    assert len(section.charts) == 2 * 12
    assert section.content.more == (
        "Not drawn: " + ", ".join(["first_fused", "left, right"] * 4) + "."
    )


def test_names_are_text_in_drawings_too() -> None:
    text = render(summary(hostile(found())))
    page, plain = Reader(text), Reader(render(summary(found())))
    assert page.problems == []
    assert len(page.scripts) == len(plain.scripts)
    assert page.all("img") == []
    drawn = [json.loads(t) for attributes, t in page.scripts if "data-chart" in attributes]
    tips = {box["tip"] for one in drawn for d in one["data"] if d["name"] == "boxes"
            for box in d["values"]}  # fmt: skip
    assert all(HOSTILE in tip for tip in tips)


def test_every_state_has_a_sign_and_a_stroke_of_its_own() -> None:
    """So that nobody needs to tell red from green."""
    (place, *_) = found()
    seen: dict[str, tuple[str, str]] = {}
    for chart in drawings(place, "p"):
        data = {part["name"]: part["values"] for part in chart.specification["data"]}
        heads = [line for line in data["lines"] if line["weight"] == "bold"]
        for box, head in zip(data["boxes"], heads, strict=True):
            sign = head["text"][0] if head["text"][1] == " " else ""
            seen[box["stroke"]] = (sign, f"{box['dash']} {box['thick']}")
    assert set(seen) == {"var(--bad)", "var(--good)", "var(--warn)", "var(--line-2)"}
    assert [seen[f"var(--{name})"][0] for name in ("bad", "good", "warn", "line-2")] == [
        "−", "+", "~", "",
    ]  # fmt: skip
    assert len({stroke for _, stroke in seen.values()}) == 4


MEASURING = """<script>
const later = () => new Promise(done => setTimeout(done, 100));
const waiting = setInterval(async () => {
  const drawings = [...document.querySelectorAll(".drawing")], told = document.body.dataset;
  if (!drawings.every(one => one.dataset.state)) return;
  clearInterval(waiting);
  const inside = (t, b) => b.left <= t.left && t.right <= b.right && b.top <= t.top + 1
    && t.bottom <= b.bottom + 1;
  const rects = (one, what) => [...one.querySelectorAll(what)].map(p => p.getBoundingClientRect());
  told.states = drawings.map(one => one.dataset.state).join();
  told.texts = drawings.flatMap(one => rects(one, ".mark-text text")).length;
  told.outside = drawings.flatMap(one => rects(one, ".mark-text text").filter(
    t => !rects(one, ".mark-rect path").some(b => inside(t, b)))).length;
  told.least = Math.min(...[...document.querySelectorAll(".mark-text text")].map(
    t => parseFloat(getComputedStyle(t).fontSize)));
  told.wider = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  const wide = () => drawings[0].querySelector("svg").getBoundingClientRect().width;
  const press = step => document.querySelector(`[data-zoom] [data-step="${step}"]`).click();
  const first = wide();
  press(1.25);
  await later();
  told.enlarged = (wide() / first).toFixed(2);
  press(0);
  await later();
  told.fitted = (wide() / first).toFixed(2);
}, 20);
</script>"""


def test_a_browser_draws_without_a_complaint(browser, tmp_path: Path) -> None:  # noqa: F811
    """Under the page's own policy, and whatever the nodes are called."""
    page = tmp_path / "report.html"
    write_page(render(summary(hostile(found()))), page)
    opened = open_page(browser, page, dark=True)
    assert opened.console == ()
    assert [url for url in opened.requests if not url.startswith("file:")] == []
    assert opened.dom.count('data-state="drawn"') == 4


def measured(browser, places: tuple[Neighbourhood, ...], page: Path, width: int) -> dict[str, str]:  # noqa: F811
    """What ``MEASURING`` tells; it may run where the page's policy is gone."""
    text = re.sub("<meta http-equiv=.*>", "", render(summary(places)))
    write_page(text.replace("</main>", f"</main>{MEASURING}"), page)
    dom = open_page(browser, page, width=width).dom
    return dict(re.findall(r'data-(\w+)="([^"]*)"', dom.split("<body", 1)[1].split(">", 1)[0]))


def test_each_text_is_in_its_box_and_a_button_enlarges_it(browser, tmp_path: Path) -> None:  # noqa: F811
    told = measured(browser, found(), tmp_path / "report.html", 1280)
    assert told["states"] == ",".join(["drawn"] * 4)
    assert int(told["texts"]) > 40
    assert (told["outside"], told["wider"]) == ("0", "false")
    assert (told["enlarged"], told["fitted"], told["least"]) == ("1.25", "1.00", "11")


def test_a_wide_drawing_can_be_read_on_a_telephone(browser, tmp_path: Path) -> None:  # noqa: F811
    """It scrolls in its own frame, and the page does not."""
    wide = "\n".join(f"[b{i}] v{i} = Conv {CONV} (c, v)" for i in range(8))
    every = ", ".join(f"v{i}" for i in range(8))
    before = f"[a] c = Conv {CONV} (x, w)\n{wide}\n[sum] y = Sum ({every})"
    after = before.replace("= Conv", "= mlcnn.Fused").replace("[a] c = mlcnn.Fused", "[a] c = Conv")
    known = " ".join(f"v{i}=8" for i in range(8))
    after = re.sub(r"mlcnn.Fused <[^>]*>", "mlcnn.Fused", after)
    places = neighbourhoods(compare(network(before), network(after, f"{known} y=8")))
    told = measured(browser, places, tmp_path / "report.html", 400)
    assert (told["outside"], told["wider"]) == ("0", "false")
    assert float(told["least"]) >= 9
