"""The page in a real browser: no errors, every chart drawn to scale, nothing asked of a network."""

import json
import os
import re
import subprocess
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlcnn.report import RunSummary, find_browser, picture, write
from mlcnn.report.picture import browser_command

TIMEOUT_S = 60


@dataclass(frozen=True)
class Opened:
    """What a browser made of a page: its elements, console lines, and the addresses it sought."""

    dom: str
    console: tuple[str, ...]
    requests: tuple[str, ...]


@pytest.fixture(scope="module")
def browser() -> str:
    found = find_browser()
    if found is None:
        reason = "no Chromium (chromium, chromium-browser, google-chrome, chrome) on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def requests_of(log: Path) -> tuple[str, ...]:
    """Addresses that a page asked for; those that the browser asks for itself have no origin."""
    record = json.loads(log.read_text())
    start = record["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    events = [e["params"] for e in record["events"] if e["type"] == start and "params" in e]
    return tuple(
        params["url"]
        for params in events
        if params.get("initiator") != "not an origin" and "url" in params
    )


def open_page(browser: str, page: Path, *, dark: bool = False, width: int = 1200) -> Opened:
    log = page.with_suffix(".netlog")
    command = [
        *browser_command(browser, page.with_suffix(".profile"), dark=dark),
        f"--window-size={width},1000",
        f"--log-net-log={log}",
        "--enable-logging=stderr",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, encoding="utf-8"
    )
    console = re.findall(r"CONSOLE[:(]\d+\)?\] (.*)", done.stderr)
    return Opened(done.stdout, tuple(console), requests_of(log))


class Drawn(HTMLParser):
    """Widths of the bars and texts of every chart, by the chart's id."""

    def __init__(self, dom: str) -> None:
        super().__init__()
        self.state: dict[str, str | None] = {}
        self.bars: dict[str, list[tuple[str, float]]] = {}
        self.texts: dict[str, list[str]] = {}
        self._chart = ""
        self._text = False
        self.feed(dom)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "div" and "chart" in (found.get("class") or "").split():
            self._chart = found["id"]
            self.state[self._chart] = found.get("data-state")
            self.bars[self._chart], self.texts[self._chart] = [], []
        if tag == "path" and found.get("aria-roledescription") == "bar":
            width = re.search(r"h(-?[\d.]+)", found.get("d") or "")
            self.bars[self._chart].append(
                (found.get("fill") or "", float(width.group(1)) if width else 0.0)
            )
        self._text = tag == "text"

    def handle_data(self, data):
        if self._text and self._chart:
            self.texts[self._chart].append(data)


def to_scale(widths: list[float], values: list[float]) -> bool:
    """Whether widths are proportional to values, to a thousandth of the longest."""
    longest = max(zip(values, widths, strict=True))
    return all(
        width / longest[1] == pytest.approx(value / longest[0], abs=1e-3)
        for width, value in zip(widths, values, strict=True)
    )


def check_accelerators(summary: RunSummary, drawn: Drawn) -> None:
    columns = [[row for row in found.layers if row.fused] for found in summary.evaluations]
    bars = drawn.bars["chart-accelerator-speed"]
    assert to_scale([w for _, w in bars], [row.speedup for rows in columns for row in rows])
    assert list(dict.fromkeys(fill for fill, _ in bars)) == [
        "var(--series-1)", "var(--series-2)", "var(--series-3)"
    ]  # fmt: skip
    parts = [
        getattr(cost.energy, part) / whole.energy.total
        for costs in ([row.against for row in columns[0]], *([r.cost for r in c] for c in columns))
        for cost, whole in zip(costs, [row.against for row in columns[0]], strict=True)
        for part in ("dram", "buffer", "mac", "static")
    ]
    assert to_scale([w for _, w in drawn.bars["chart-accelerator-energy"]], parts)


@pytest.mark.parametrize("summary", ["vgg16", "densenet121"], indirect=True)
def test_every_chart_is_drawn_to_scale(browser, summary: RunSummary, tmp_path: Path):
    page = tmp_path / "report.html"
    write(summary, page)
    opened = open_page(browser, page)
    assert opened.console == ()
    assert [url for url in opened.requests if not url.startswith("file:")] == []
    drawn = Drawn(opened.dom)
    assert set(drawn.state) == {
        "chart-latency-1", "chart-latency-2", "chart-multiplications", "chart-additions",
        "chart-accelerator-speed", "chart-accelerator-operations", "chart-accelerator-energy",
    }  # fmt: skip
    assert set(drawn.state.values()) == {"drawn"}
    layers = summary.counts.layers
    fused = [layer for layer in layers if layer.fused]
    bars = drawn.bars["chart-multiplications"]
    assert len(bars) == len(layers) + len(fused)
    assert to_scale(
        [width for _, width in bars],
        [layer.multiplications.original for layer in layers]
        + [layer.chosen.multiplications for layer in fused],
    )
    assert [fill for fill, _ in bars] == [
        *("var(--gone)" if layer.fused else "var(--same)" for layer in layers),
        *("var(--fused)" for _ in fused),
    ]
    first = [row for row in summary.latencies if row.batch == 1]
    assert to_scale(
        [width for _, width in drawn.bars["chart-latency-1"]], [row.median_ms for row in first]
    )
    check_accelerators(summary, drawn)
    assert {"onnxruntime", "openvino"} <= set(drawn.texts["chart-latency-1"])


def test_markup_in_names_runs_nothing(browser, hostile: RunSummary, tmp_path: Path):
    page = tmp_path / "report.html"
    write(hostile, page)
    opened = open_page(browser, page, dark=True)
    assert opened.console == ()
    assert set(Drawn(opened.dom).state.values()) == {"drawn"}


def test_a_script_from_elsewhere_does_not_run(browser, summary: RunSummary, tmp_path: Path):
    page = tmp_path / "report.html"
    write(summary, page)
    foreign = "<script>document.body.dataset.foreign = 'ran'</script>"
    page.write_text(page.read_text(encoding="utf-8").replace("</main>", f"{foreign}</main>"))
    opened = open_page(browser, page)
    assert 'data-foreign="ran"' not in opened.dom
    assert any("Content Security Policy" in line for line in opened.console)


@pytest.mark.parametrize("width", [1280, 1024, 400])
def test_nothing_sticks_out_of_a_tile(browser, summary: RunSummary, tmp_path: Path, width: int):
    names = {"onnxruntime": "onnxruntime:CPUExecutionProvider", "torch": "torch-compile"}
    noisy = tuple(
        replace(
            row,
            engine=names.get(row.engine, row.engine),
            median_ms=row.median_ms * (1 + 0.3 * (row.batch == 8 and row.variant == "result")),
            q1_ms=row.median_ms / 3,
            q3_ms=row.median_ms * 3,
        )
        for row in summary.latencies
    )
    page = tmp_path / "report.html"
    write(replace(summary, latencies=noisy), page)
    measuring = """<script>document.body.dataset.wide = [...document.querySelectorAll(".fact")]
        .flatMap(tile => [...tile.querySelectorAll("dt, p, li, span, b")].filter(part =>
            part.getBoundingClientRect().right > tile.getBoundingClientRect().right + 0.5))
        .length</script>"""
    text = page.read_text(encoding="utf-8").replace("</main>", f"</main>{measuring}")
    page.write_text(re.sub("<meta http-equiv=.*>", "", text), encoding="utf-8")
    opened = open_page(browser, page, width=width)
    assert 'data-wide="0"' in opened.dom


def test_errors_and_requests_would_be_seen(browser, tmp_path: Path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><img src='http://example.invalid/picture.png'>"
        "<script>console.error('seen'); missing();</script>"
    )
    opened = open_page(browser, page)
    assert any("seen" in line for line in opened.console)
    assert any("missing is not defined" in line for line in opened.console)
    assert "http://example.invalid/picture.png" in opened.requests


def test_a_picture_shows_light_and_dark(browser, summary: RunSummary, tmp_path: Path):
    page = tmp_path / "report.html"
    write(summary, page)
    for dark in (False, True):
        image = tmp_path / f"{dark}.png"
        picture(page, image, width=600, height=400, dark=dark)
        content = image.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert [int.from_bytes(content[i : i + 4]) for i in (16, 20)] == [1200, 800]
    assert (tmp_path / "True.png").read_bytes() != (tmp_path / "False.png").read_bytes()
