"""The page: complete in itself, the same every time, and closed to what a network is called."""

import base64
import hashlib
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import mlcnn.report.page
from mlcnn.errors import InputError
from mlcnn.report import ORIGINAL, RunSummary, render, write

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Reader(HTMLParser):
    """Elements, scripts and visible text of a page; notes tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text: list[str] = []
        self.problems: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.problems += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            attributes, content = self.scripts[-1]
            self.scripts[-1] = (attributes, content + data)
        elif not self._open or self._open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("summary", ["vgg16", "densenet121", "untouched"], indirect=True)
def test_markup_is_well_formed(summary: RunSummary):
    page = Reader(render(summary))
    assert page.problems == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [a["href"] for a in page.all("a")]
    assert anchors
    assert all(href.startswith("#") and href[1:] in ids for href in anchors)


@pytest.mark.parametrize("summary", ["vgg16", "densenet121"], indirect=True)
def test_nothing_is_loaded_from_anywhere(summary: RunSummary):
    text = render(summary)
    page = Reader(text)
    loading = {"src", "srcset", "data", "poster", "action", "background", "ping"}
    assert not [a for _, a in page.elements if loading & a.keys()]
    assert page.all("link") == []
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "@import" not in style
    assert "url(" not in style
    without_library = text.replace(mlcnn.report.page._library(), "")
    assert not re.search(r"https?:|//[a-z]", without_library)


def test_one_library_draws_all_charts(summary: RunSummary):
    page = Reader(render(summary))
    library, drawing = [text for attributes, text in page.scripts if "type" not in attributes]
    assert len(library) > 500_000
    assert len(drawing) < 5_000
    charts = [text for attributes, text in page.scripts if "data-chart" in attributes]
    assert len(charts) == 7
    assert all("layer" in json.loads(text) for text in charts)


@pytest.mark.parametrize("summary", ["vgg16"], indirect=True)
def test_policy_lets_run_the_two_scripts_and_nothing_else(summary: RunSummary):
    page = Reader(render(summary))
    policy = next(
        a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    expected = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for attributes, text in page.scripts
        if "type" not in attributes
    }
    assert set(rules["script-src"].split()) == expected


def test_names_are_text_wherever_they_stand(summary: RunSummary, hostile: RunSummary):
    page = Reader(render(hostile))
    plain = Reader(render(summary))
    name = hostile.model_name
    assert page.problems == []
    assert page.all("img") == []
    assert len(page.scripts) == len(plain.scripts)
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    # Every place that showed a name shows it whole: escaped once, not cut and not interpreted.
    assert "".join(page.text).count(name) > 30
    assert "49" not in "".join(page.text).replace(name, "").split()


def test_the_same_summary_gives_the_same_bytes(summary: RunSummary):
    assert render(summary) == render(replace(summary))


def test_a_table_tells_what_it_holds(summary: RunSummary):
    page = Reader(render(summary))
    assert len(page.all("table")) == len(page.all("caption")) > 5
    assert all(a.get("scope") in {"col", "row", "colgroup"} for a in page.all("th"))
    charts = [a for a in page.all("div") if a.get("class") == "chart"]
    assert len(charts) == 7
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 40 for a in charts)


@pytest.mark.parametrize("summary", ["untouched"], indirect=True)
def test_sections_with_nothing_to_show_are_left_out(summary: RunSummary):
    page = Reader(render(summary))
    titles = [a["id"] for a in page.all("section")]
    assert titles == ["summary", "sites", "operations", "accelerator", "provenance"]


def test_where_nothing_was_rewritten_no_column_compares_the_original_with_itself(
    summary: RunSummary,
):
    alone = tuple(row for row in summary.latencies if row.variant == ORIGINAL)
    assert "over original" in render(summary)
    assert "over original" not in render(replace(summary, latencies=alone))


def test_a_network_without_layers_needs_no_scripts():
    page = Reader(render(RunSummary("empty", "empty", "", "mlcnn run empty", 0)))
    assert page.scripts == []


def test_figures_are_typeset(summary: RunSummary):
    text = "".join(Reader(render(summary)).text)
    assert "−36.5\N{NO-BREAK SPACE}%" in text
    assert "1.46×" in text
    assert "4.4e-15" in text


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def palettes() -> list[dict[str, str]]:
    style = mlcnn.report.page._asset("style.css")
    light, dark = re.findall(r":root \{\n(.*?--.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block)) for block in (light, dark)]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_contrast_meets_wcag_aa(palette):
    text = ("--ink", "--ink-2", "--accent", "--good", "--warn", "--bad")
    for name in text:
        for ground in ("--paper-bg", "--panel"):
            assert contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
    assert contrast(palette["--ink"], palette["--warn-bg"]) >= 4.5
    assert contrast(palette["--warn"], palette["--warn-bg"]) >= 4.5
    series = [name for name in palette if name.startswith("--series-")]
    assert len(series) == 8
    for name in ("--same", "--fused", "--stage", "--paper", *series):
        assert contrast(palette[name], palette["--paper-bg"]) >= 3, name
    assert contrast(palette["--fused"], palette["--gone"]) >= 3


def test_a_page_is_written_whole(summary: RunSummary, tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write(summary, path)
    assert path.read_text(encoding="utf-8") == render(summary)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_page(summary: RunSummary, tmp_path: Path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(self, target):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match=r"report\.html: the report cannot be written: No space"):
        write(summary, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a directory; give the name of a file in it"), ("no/report.html", "create it first")],
)
def test_a_path_that_cannot_be_written_is_refused(summary: RunSummary, tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        write(summary, tmp_path / name)


def test_a_name_that_is_not_valid_unicode_is_written(summary: RunSummary, tmp_path: Path):
    path = tmp_path / "report.html"
    write(replace(summary, model_name="half \ud800 pair"), path)
    assert "half \N{REPLACEMENT CHARACTER} pair" in path.read_text(encoding="utf-8")
