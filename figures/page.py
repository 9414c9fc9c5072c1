"""The HTML page around the report: typography, the light and the dark scheme, and sorting. Nothing is loaded."""

from __future__ import annotations

import base64
from html import escape

from figures.style import dark_svg

STYLE_SHEET = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --muted: #5c6670; --line: #e1e4e8;
  --panel: #f6f7f9; --accent: #a84300; --good: #1a7f4b; --warn: #9a6700; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --ink: #e6e8eb; --muted: #9aa4af; --line: #2c323a;
  --panel: #1b2027; --accent: #ff9a52; --good: #4cc38a; --warn: #e2b340; --bad: #ff8078; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55; font-size: 17px;
  font-family: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", "Source Serif 4", Georgia, serif; }
.page { display: grid; grid-template-columns: minmax(0, 1120px); justify-content: center; padding: 0 1.5rem 5rem; }
header { padding: 2.2rem 0 1.2rem; border-bottom: 2px solid var(--ink); margin-bottom: 1.6rem; }
h1 { font-size: 2.2rem; line-height: 1.15; margin: 0 0 .6rem; font-weight: 600; letter-spacing: -.01em; }
h2 { font-size: 1.5rem; margin: 3.2rem 0 .7rem; font-weight: 600; border-bottom: 1px solid var(--line);
  padding-bottom: .3rem; }
h3 { font-size: 1.13rem; margin: 2rem 0 .5rem; font-weight: 600; }
p { max-width: 44rem; margin: .6rem 0; }
.lede { font-size: 1.12rem; color: var(--muted); }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .15em; }
nav, table, summary, .facts, .badge, figcaption, .key { font-family: system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
nav { font-size: .88rem; padding-top: 1.2rem; }
nav ol { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; }
nav ol ol { display: none; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr)); gap: 1px; margin: 1.6rem 0 1.2rem;
  background: var(--line); border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
.facts div { background: var(--paper); padding: .7rem .9rem; }
.facts dt { font-size: .72rem; color: var(--muted); white-space: nowrap; }
.facts dd { margin: .05rem 0 0; font-size: 1.15rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { margin: 1.2rem 0 2.2rem; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption, .caption { font-size: .85rem; line-height: 1.5; color: var(--muted); max-width: 54rem; margin: .6rem 0 0; }
.scroll { overflow-x: auto; margin: .9rem 0 .4rem; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th { text-align: left; font-weight: 600; border-bottom: 1.5px solid var(--ink); padding: 0; white-space: nowrap; }
th.plain { padding: .4rem .55rem; }
th button { all: unset; cursor: pointer; padding: .4rem .55rem; display: block; width: 100%; box-sizing: border-box; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
th[aria-sort] button::after { content: " \\2193"; color: var(--accent); }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
td { padding: .34rem .55rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; white-space: nowrap; }
th.number { text-align: right; }
tbody tr:hover td { background: var(--panel); }
.finished { color: var(--good); } .unfinished, .missing, .differs { color: var(--warn); } .failed { color: var(--bad); }
.none, .note { color: var(--muted); }
.badge { font-size: .78rem; font-weight: 600; white-space: nowrap; }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .5rem 0; font-size: .92rem; }
summary:hover { color: var(--accent); }
summary small { color: var(--muted); font-size: .82rem; margin-left: .5rem; }
pre { background: var(--panel); border-radius: 6px; padding: .9rem 1.1rem; overflow-x: auto; font-size: .78rem;
  line-height: 1.5; font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .85em; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--muted);
  font-size: .88rem; }
@media (min-width: 1480px) {
  .page { grid-template-columns: 190px minmax(0, 1120px); column-gap: 3.5rem; }
  nav { position: sticky; top: 0; align-self: start; padding-top: 2.6rem; max-height: 100vh; overflow-y: auto; }
  nav ol { display: block; } nav ol ol { display: block; padding-left: .9rem; margin: .1rem 0 .4rem; }
  nav li { margin: .28rem 0; } nav ol ol a { color: var(--muted); }
}
@media print { nav { display: none; } body { font-size: 11pt; } figure, tr { break-inside: avoid; } }
"""

SORTING = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.sort;
    const compare = (a, b) => {
      const x = key(a), y = key(b), m = Number(x), n = Number(y);
      const order = Number.isNaN(m - n) ? x.localeCompare(y, "en", { numeric: true }) : m - n;
      return descending ? -order : order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
"""


def page(title: str, navigation: str, content: str) -> str:
    """A whole HTML document that opens offline: style and script are inside, nothing else is asked for."""
    return (
        '<!doctype html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE_SHEET}</style>\n</head>\n<body>\n"
        f'<div class="page">\n{navigation}\n<main>\n{content}\n</main>\n</div>\n'
        f"<script>{SORTING}</script>\n</body>\n</html>\n"
    )


def picture(svg: str, description: str) -> str:
    """An image with the drawing inside, and its dark version for readers whose system is set to dark."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{_data_uri(dark_svg(svg))}">'
        f'<img src="{_data_uri(svg)}" alt="{escape(description)}"></picture>'
    )


def figure_block(svg: str, description: str, caption: str) -> str:
    """A drawing with its caption."""
    return f"<figure>\n{picture(svg, description)}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")
