"""The report in a headless browser: it works, loads nothing, and fits a phone; needs Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from figures.__main__ import main
from figures.style import KNOWN_STYLES
from tests.figures.synthetic import write_study
from tests.patience import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
PHONE = 390
"""Width of a phone, in CSS pixels; a browser without a window has 500 at least, so the report is put in a frame."""
DARK = "--blink-settings=preferredColorScheme=0"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason=f"no Chromium: none of {', '.join(NAMES)} is on the path; on Debian: apt-get install chromium",
)

PROBE = r"""
const findings = { errors: [] };
addEventListener("error", event => findings.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", event => findings.errors.push(event.blockedURI));
const luminance = colour => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map(own => own / 255);
  const [r, g, b] = parts.map(own => own <= 0.04045 ? own / 12.92 : ((own + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const examine = async () => {
  for (const own of document.querySelectorAll("details")) own.open = true;
  await Promise.all([...document.images].map(own => { own.loading = "eager"; return own.decode(); }));
  await new Promise(done => setTimeout(done, 500));
  const paper = getComputedStyle(document.body).backgroundColor;
  findings.width = innerWidth;
  findings.page = document.documentElement.scrollWidth;
  findings.wide = [...document.querySelectorAll("body *")]
    .filter(own => !own.parentElement.closest(".scroll, svg, nav"))
    .filter(own => own.getBoundingClientRect().right > innerWidth + 0.5)
    .map(element => `${element.tagName}.${element.className}`);
  findings.background = paper;
  findings.contrasts = {};
  for (const name of ["p", ".caption", "nav a", "td", ".failed", ".unfinished", ".finished", "summary", "code"]) {
    const found = document.querySelector(name);
    if (found) findings.contrasts[name] = contrast(getComputedStyle(found).color, paper);
  }
  const images = [...document.querySelectorAll(".drawing img")];
  findings.drawings = images.map(own => own.naturalWidth);
  findings.filter = getComputedStyle(images[0]).filter;
  findings.legend = [...document.querySelector("details.block .legend").children].map(own => own.textContent);
  findings.charts = [...document.querySelectorAll("details.block")].map(own => {
    const names = [...own.querySelectorAll(".multiples figcaption")].map(one => one.textContent);
    const inked = [...own.querySelectorAll(".multiples canvas")].map(one => {
      const pixels = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
      const colours = new Set();
      for (let place = 0; place < pixels.length; place += 4)
        if (pixels[place + 3] === 255) colours.add(pixels.slice(place, place + 3).join());
      return [...colours];
    });
    return [names, inked];
  });
  const cell = (row, column) => row.cells[column].textContent;
  const table = document.querySelector("details.block table.sortable"), rows = () => [...table.tBodies[0].rows];
  const buttons = [...table.tHead.rows[0].cells].map(own => own.querySelector("button"));
  const column = buttons.findIndex(own => own.textContent === "Greedy");
  buttons[column].click();
  findings.descending = rows().map(row => row.cells[column].dataset.sort);
  buttons[column].click();
  findings.ascending = rows().map(row => row.cells[column].dataset.sort);
  findings.sorted = table.tHead.rows[0].cells[column].getAttribute("aria-sort");
  findings.kept = rows().map(row => cell(row, 0) + cell(row, 1)).sort();
  const filter = document.getElementById("filter");
  filter.value = "difference";
  filter.dispatchEvent(new Event("input"));
  findings.filtered = [...document.querySelectorAll("details.block")].map(own => own.hidden);
  findings.controls = !filter.closest("p").hidden;
  findings.requests = performance.getEntriesByType("resource").map(own => own.name);
  const place = document.createElement("pre");
  place.id = "findings";
  place.textContent = JSON.stringify(findings);
  top.document.body.append(place);
};
addEventListener("load", examine);
"""
ALLOWED = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
POLICY = f'<meta http-equiv="Content-Security-Policy" content="{ALLOWED}">'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, output = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("drawn")
    write_study(root)
    assert main(["--results", str(root), "--output", str(output)]) == 0
    return output / "report.html"


def browse(page: Path, *options: str) -> tuple[str, list[str]]:
    """The page after its scripts ran, and what was written to the console."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += ["--hide-scrollbars", "--window-size=1280,900", "--virtual-time-budget=4000", *options, "--dump-dom"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [*command, profile, page.as_uri()], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def examine(report: Path, folder: Path, *options: str, width: int | None = None) -> dict[str, Any]:
    """What a script inside a copy of the report, which may load nothing, finds; `width`: of a frame around it."""
    text = report.read_text(encoding="utf-8").replace("<head>", f"<head>{POLICY}<script>{PROBE}</script>", 1)
    if width is not None:
        frame = f'<iframe style="width: {width}px; height: 844px; border: 0" srcdoc="{html.escape(text)}"></iframe>'
        text = f"<!doctype html><body>{frame}</body>"
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    shown, console = browse(page, *options)
    found = re.search(r'<pre id="findings">(.*?)</pre>', shown, re.DOTALL)
    assert found is not None, f"the script did not come to its end: {console}"
    findings: dict[str, Any] = json.loads(html.unescape(found.group(1)))
    findings["console"] = console
    return findings


@pytest.fixture(scope="module")
def light(report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return examine(report, tmp_path_factory.mktemp("light"), "--blink-settings=preferredColorScheme=1")


@pytest.fixture(scope="module")
def dark(report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return examine(report, tmp_path_factory.mktemp("dark"), DARK)


def test_nothing_is_asked_for_and_nothing_goes_wrong(light: dict[str, Any]) -> None:
    assert light["errors"] == []
    assert light["console"] == []
    assert light["requests"] == []


def test_a_click_on_a_header_sorts_and_another_turns_the_order(light: dict[str, Any]) -> None:
    values = [float(value.replace("Infinity", "inf")) for value in light["descending"]]
    assert len(values) == 8
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 3
    assert [float(value.replace("Infinity", "inf")) for value in light["ascending"]] == sorted(values)
    assert light["sorted"] == "ascending"
    assert len(set(light["kept"])) == 8  # whole rows moved


def test_the_filter_hides_the_other_blocks(light: dict[str, Any]) -> None:
    assert light["controls"]
    assert light["filtered"] == [True, False]


def test_everything_fits_the_page_of_a_phone(report: Path, tmp_path: Path) -> None:
    found = examine(report, tmp_path, width=PHONE)
    assert found["width"] == PHONE
    assert found["wide"] == []
    assert found["page"] <= PHONE
    assert found["errors"] == []


def test_everything_fits_the_page_of_a_desktop(light: dict[str, Any]) -> None:
    assert light["width"] == 1280
    assert light["wide"] == []
    assert light["page"] <= 1280


def test_light_and_dark_differ_and_both_can_be_read(light: dict[str, Any], dark: dict[str, Any]) -> None:
    assert light["background"] == "rgb(255, 255, 255)"
    assert dark["background"] == "rgb(20, 23, 28)"
    for found in (light, dark):
        low = {name: value for name, value in found["contrasts"].items() if value < 4.5}
        assert low == {}  # WCAG 2.2, success criterion 1.4.3
        assert len(found["contrasts"]) == 9


def test_drawings_are_shown_and_turned_for_a_dark_page(light: dict[str, Any], dark: dict[str, Any]) -> None:
    for found in (light, dark):
        assert len(found["drawings"]) > 0
        assert min(found["drawings"]) > 100
    assert light["filter"] == "none"
    assert dark["filter"] == "invert(1) hue-rotate(180deg) brightness(1.3)"


def test_charts_are_drawn_when_a_block_is_unfolded(light: dict[str, Any]) -> None:
    """Every metric has a chart, with a line in the colour of one of its algorithms, which lie on one another here."""
    assert light["legend"] == ["IP", "QMIX", "PIC", "IQL"]
    names, inked = light["charts"][0]
    assert names == ["policy/entropy", "environment steps per second", "evaluation/collisions", "loss/q"]
    colours = [KNOWN_STYLES[name].colour.lstrip("#") for name in ("ip", "iql")]
    expected = {",".join(str(int(colour[place : place + 2], 16)) for place in (0, 2, 4)) for colour in colours}
    assert [bool(expected & set(inks)) for inks in inked] == [True] * 4
