"""The HTML page: one file that opens from disk, without network.

What comes from a network (names, paths, reasons) is only ever text: templates escape it, chart
data travels as JSON in which no tag can begin, and a content security policy lets run nothing
but the two scripts of the page, by their hashes, and load nothing at all.
"""

import base64
import hashlib
import html
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mlcnn.errors import InputError
from mlcnn.graph import check_output
from mlcnn.report.charts import Chart
from mlcnn.report.sections import SECTIONS
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, printable

__all__ = ["Page", "page", "render", "write", "write_page"]

_TYPOGRAPHY = (
    (re.compile(r"(?<=\d)x(?![\w])"), "\N{MULTIPLICATION SIGN}"),
    (re.compile(r"(?<![\w.])-(?=\d)"), "\N{MINUS SIGN}"),
    (re.compile(r"(?<=\d) (?=(?:%|[kMGT]|ms)(?!\w))"), "\N{NO-BREAK SPACE}"),
)


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """A page that opens in the cell of a notebook, and can be written to a file.

    Attributes:
        html: the text, complete in itself.
        height: of the frame in a notebook, in CSS pixels.
    """

    html: str
    height: int = 720

    @property
    def title(self) -> str:
        """What stands in its head."""
        found = re.search("<title>(.*?)</title>", self.html, re.DOTALL)
        return html.unescape(found[1]) if found else ""

    @property
    def size(self) -> int:
        """Bytes of the file, and about as many of the notebook that shows it."""
        return len(self.html.encode("utf-8", "xmlcharrefreplace"))

    def save(self, path: "str | Path") -> None:
        """Write it: whole or not at all.

        Args:
            path: the HTML file; its folder must exist. An older file is replaced.

        Raises:
            InputError: ``path`` cannot be written.
        """
        write_page(self.html, path)

    def __repr__(self) -> str:
        return f"{self.title}: a page of {amount(self.size)}B; .save(path) writes it"

    def _repr_html_(self) -> str:
        """The page in a frame of its own: its styles and scripts stay there."""
        title = html.escape(self.title)
        return (
            f'<iframe title="{title}" sandbox="allow-scripts" width="100%" height="{self.height}" '
            f'style="border: 1px solid #8593a0" srcdoc="{html.escape(self.html)}"></iframe>'
            f"<p>{html.escape(repr(self))}</p>"
        )


def _typeset(text: str) -> str:
    """Figures with the signs that print has for them."""
    for pattern, sign in _TYPOGRAPHY:
        text = pattern.sub(sign, text)
    return text


@cache
def _library() -> str:
    """The drawing library (Vega, Vega-Lite, Vega-Embed) as one script.

    Raises:
        RuntimeError: the installed library cannot stand inside a page.
    """
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    if re.search(r"</script|<!--|\r", script, re.IGNORECASE):
        msg = "the chart library of vl-convert holds text that would end its script element"
        raise RuntimeError(msg)
    return script


def _asset(name: str) -> str:
    return (resources.files("mlcnn.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _chart_data(chart: Chart) -> Markup:
    """A chart as JSON inside a script element: no ``<``, so that no tag can begin in it."""
    text = json.dumps(chart.specification, sort_keys=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mlcnn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["typeset"] = _typeset
    environment.filters["chart_data"] = _chart_data
    return environment


def render(summary: RunSummary) -> str:
    """The page of a run. Equal summaries give equal pages.

    Args:
        summary: the result of the run.

    Returns:
        The HTML text, complete in itself.
    """
    sections = [made for build in SECTIONS if (made := build(summary)) is not None]
    return page(summary.model_name, summary.created, sections)


def page(name: str, created: str, sections: Sequence[Section]) -> str:
    """A page of sections.

    Args:
        name: of the network.
        created: date and time; empty for a page that is the same every time.
        sections: in order.

    Returns:
        The HTML text, complete in itself.
    """
    drawing = any(section.charts for section in sections)
    scripts = [_library(), _asset("draw.js")] if drawing else []
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        _environment()
        .get_template("page.html")
        .render(
            name=printable(name),
            created=printable(created),
            sections=sections,
            style=Markup(_asset("style.css")),  # noqa: S704 - the package's own file
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - checked above
            script_policy=hashes or "'none'",
        )
    )


def write(summary: RunSummary, path: str | Path) -> None:
    """Write the page of a run: whole or not at all.

    Args:
        summary: the result of the run.
        path: the HTML file; its folder must exist. An older file is replaced.

    Raises:
        InputError: ``path`` cannot be written.
    """
    write_page(render(summary), path)


def write_page(content: str, path: str | Path) -> None:
    """Write a page: whole or not at all.

    Args:
        content: the HTML text.
        path: the HTML file; its folder must exist. An older file is replaced.

    Raises:
        InputError: ``path`` cannot be written.
    """
    path = check_output(path)
    # A name that is not valid Unicode must not keep the page from being written.
    encoded = content.encode("utf-8", "xmlcharrefreplace")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            file.write(encoded)
        temporary.replace(path)
    except OSError as error:
        msg = f"{path}: the report cannot be written: {error.strerror or error}"
        raise InputError(msg) from error
    finally:
        temporary.unlink(missing_ok=True)
