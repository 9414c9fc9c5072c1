"""The HTML page around the report: typography, the light and the dark scheme, and what answers a click. Nothing is
loaded, and without a script everything can still be read."""

from __future__ import annotations

import re
from html import escape

from figures.style import dark_rules
from figures.vector import shared_definitions, svg_size

SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
MONOSPACE = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'
SMALLEST_SCALE = 0.95
"""CSS pixels a point of a drawing has at least: on a narrow screen it scrolls inside its block rather than shrink."""

STYLE_SHEET = f"""
:root {{ color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --muted: #5c6670; --line: #e1e4e8;
  --panel: #f6f7f9; --accent: #a84300; --good: #1a7f4b; --warn: #8a5c00; --bad: #b3261e; --shade: #00000026; }}
* {{ box-sizing: border-box; }}
html {{ scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }}
body {{ margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55; font-size: 17px;
  font-family: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", "Source Serif 4", Georgia, serif; }}
.page {{ display: grid; grid-template-columns: minmax(0, 1120px); justify-content: center; padding: 0 1.5rem 5rem; }}
header {{ padding: 2.2rem 0 1.2rem; border-bottom: 2px solid var(--ink); margin-bottom: 1.6rem; }}
h1 {{ font-size: 2.2rem; line-height: 1.15; margin: 0 0 .6rem; font-weight: 600; letter-spacing: -.01em; }}
h2 {{ font-size: 1.5rem; margin: 3.2rem 0 .7rem; font-weight: 600; border-bottom: 1px solid var(--line);
  padding-bottom: .3rem; }}
h3 {{ font-size: 1.13rem; margin: 2rem 0 .5rem; font-weight: 600; }}
h4 {{ font-size: 1rem; margin: 1.4rem 0 .3rem; font-weight: 600; }}
p {{ max-width: 44rem; margin: .6rem 0; }}
.lede {{ font-size: 1.12rem; color: var(--muted); }}
a {{ color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .15em; }}
nav, table, summary, .facts, .badge, figcaption, .caption, .legend, .controls {{ font-family: {SANS}; }}
nav {{ font-size: .88rem; padding-top: 1.2rem; }}
nav ol {{ list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; }}
nav a {{ text-decoration: none; }}
td a {{ text-decoration: none; }}
nav a:hover, td a:hover {{ text-decoration: underline; }}
nav a[aria-current] {{ color: var(--ink); font-weight: 600; }}
.facts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr)); gap: 1px; margin: 1.6rem 0 1.2rem;
  background: var(--line); border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }}
.facts div {{ background: var(--paper); padding: .7rem .9rem; }}
.facts dt {{ font-size: .72rem; color: var(--muted); white-space: nowrap; }}
.facts dd {{ margin: .05rem 0 0; font-size: 1.15rem; white-space: nowrap; font-variant-numeric: tabular-nums; }}
figure {{ margin: 1.2rem 0 2.2rem; }}
.drawing svg {{ display: block; margin: 0 auto; }}
figcaption, .caption {{ font-size: .82rem; line-height: 1.5; color: var(--muted); max-width: 54rem; margin: .6rem 0 0;
}}
.scroll {{ overflow-x: auto; margin: .9rem 0 .4rem; background: linear-gradient(to right, var(--paper) 40%, transparent)
  0 / 30px 100%, linear-gradient(to left, var(--paper) 40%, transparent) 100% / 30px 100%, linear-gradient(to right,
  var(--shade), transparent) 0 / 12px 100%, linear-gradient(to left, var(--shade), transparent) 100% / 12px 100%;
  background-repeat: no-repeat; background-attachment: local, local, scroll, scroll; }}
table {{ border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; min-width: 100%; }}
th {{ text-align: left; font-weight: 600; border-bottom: 1.5px solid var(--ink); padding: 0; white-space: nowrap;
  vertical-align: bottom; }}
th.plain {{ padding: .4rem .55rem; }}
th button {{ all: unset; cursor: pointer; padding: .4rem .55rem; display: block; width: 100%; box-sizing: border-box; }}
th button:focus-visible, a:focus-visible, summary:focus-visible {{ outline: 2px solid var(--accent); }}
th button:focus-visible {{ outline-offset: -2px; }}
th[aria-sort] button::after {{ content: " \\2193"; color: var(--accent); }}
th[aria-sort="ascending"] button::after {{ content: " \\2191"; }}
td, tbody th, tfoot th {{ padding: .34rem .55rem; border-bottom: 1px solid var(--line); vertical-align: top; }}
tfoot td, tfoot th {{ font-weight: 600; border-top: 1.5px solid var(--ink); }}
td.number {{ text-align: right; white-space: nowrap; }}
th.number {{ text-align: right; }}
tbody tr:hover > * {{ background: var(--panel); }}
.matrix td:first-child, .matrix tfoot th {{ min-width: 12.5rem; position: sticky; left: 0; background: var(--paper); }}
table.prose td {{ min-width: 13rem; line-height: 1.45; }}
table.prose th {{ font-weight: 400; }} table.prose thead th, table.settings thead th {{ font-weight: 600; }}
table.settings {{ font-size: .76rem; }} table.settings td, table.settings tbody th {{ font-family: {MONOSPACE};
  font-weight: 400; font-size: .95em; }}
.finished {{ color: var(--good); }} .unfinished, .missing, .differs {{ color: var(--warn); }}
.failed {{ color: var(--bad); }} .none, .note {{ color: var(--muted); }}
.badge {{ font-size: .78rem; font-weight: 600; white-space: nowrap; }}
details {{ border-bottom: 1px solid var(--line); }}
details[open].block {{ padding-bottom: 1.4rem; }}
details details {{ border-bottom: 0; margin-top: 1rem; }}
summary {{ cursor: pointer; padding: .5rem 0; font-size: .92rem; }}
summary:hover {{ color: var(--accent); }}
summary small {{ color: var(--muted); font-size: .78rem; margin-left: .6rem; }}
code {{ font-family: {MONOSPACE}; font-size: .85em; overflow-wrap: anywhere; }}
.controls input, .controls button {{ font: inherit; font-size: .85rem; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: 5px; padding: .3rem .6rem; }}
.controls input {{ width: 17rem; max-width: 100%; }} .controls button, .play {{ cursor: pointer; }}
.controls output {{ font-size: .82rem; color: var(--muted); }}
.legend {{ list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .5rem 0; padding: 0;
  font-size: .8rem; }}
.legend li {{ display: flex; align-items: center; gap: .4rem; }}
.legend svg {{ width: 20px; }} .legend path {{ stroke-width: 2.5; }}
.multiples {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: .9rem 1.1rem; }}
.multiples figure {{ margin: 0; min-width: 0; }}
.multiples figcaption {{ margin: 0 0 .1rem; color: var(--ink); font-size: .78rem; overflow-wrap: anywhere; }}
.multiples svg {{ width: 100%; font: 40px {SANS}; }}
.multiples text {{ fill: var(--muted); }}
.multiples path {{ fill: none; stroke-width: 6; stroke-linejoin: round; stroke-linecap: round; }}
.multiples svg > path {{ stroke-width: 3; }} .multiples path.thin {{ stroke-width: 2.5; }}
.multiples path.band {{ fill: inherit; fill-opacity: .15; stroke: none; }}
.episodes {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1.6rem 1.4rem; }}
.episodes figure {{ margin: 0; position: relative; }}
.episodes img {{ display: block; width: 100%; height: auto; border-radius: 4px; }}
.play {{ position: absolute; left: .6rem; top: .6rem; font: 600 .8rem {SANS}; padding: .3rem .8rem; border: 0;
  border-radius: 99px; background: var(--ink); color: var(--paper); }}
footer {{ margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--muted);
  font-size: .88rem; }}
@media (max-width: 560px) {{
  body {{ font-size: 16px; }} .page {{ padding: 0 1rem 3rem; }} h1 {{ font-size: 1.75rem; }}
  summary small {{ display: block; margin: .1rem 0 0 1rem; }}
  .multiples {{ grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }}
  .multiples svg {{ font-size: 54px; }}
  .matrix td:first-child, .matrix tfoot th {{ min-width: 7.5rem; }} table.prose td {{ min-width: 11rem; }}
}}
@media (min-width: 1480px) {{
  .page {{ grid-template-columns: 190px minmax(0, 1120px); column-gap: 3.5rem; }}
  nav {{ position: sticky; top: 0; align-self: start; padding-top: 2.6rem; max-height: 100vh; overflow-y: auto; }}
  nav ol {{ display: block; }}
  nav li {{ margin: .28rem 0; }}
}}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ --paper: #14171c; --ink: #e6e8eb; --muted: #9aa4af; --line: #2c323a; --panel: #1b2027; --accent: #ff9a52;
    --good: #4cc38a; --warn: #e2b340; --bad: #ff8078; --shade: #000000b0; }}
}}
@media print {{
  :root {{ color-scheme: light; }} nav, .controls, .play {{ display: none; }} body {{ font-size: 10pt; }}
  .page {{ display: block; padding: 0; }} .scroll {{ overflow: visible; }} table {{ font-size: 7pt; min-width: 0; }}
  .scroll svg {{ min-width: 0 !important; }} figure, tr {{ break-inside: avoid; }} h2, h3 {{ break-after: avoid; }}
}}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.sort;
    const compare = (a, b) => {
      const x = key(a), y = key(b), m = Number(x), n = Number(y);
      const order = Number.isNaN(m - n) && m !== n ? x.localeCompare(y, "en", { numeric: true }) : m === n ? 0 : m - n;
      return descending ? -order : order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
const blocks = [...document.querySelectorAll("details.block")];
const filter = document.getElementById("filter");
if (filter) {
  const controls = filter.closest(".controls"), output = controls.querySelector("output");
  controls.hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const block of blocks) {
      const text = (block.querySelector("summary").textContent + " " + block.id).toLowerCase();
      block.hidden = !words.every(word => text.includes(word));
    }
    const shown = blocks.filter(block => !block.hidden).length;
    output.textContent = words.length ? `${shown} of ${blocks.length}` : "";
  });
  for (const button of controls.querySelectorAll("button")) button.addEventListener("click", () => {
    for (const block of blocks) if (!block.hidden) block.open = button.dataset.open === "true";
  });
}
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) { const block = target.closest("details"); if (block) { block.open = true; target.scrollIntoView(); } }
};
addEventListener("hashchange", unfold);
unfold();
if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  for (const button of document.querySelectorAll(".play")) {
    button.hidden = false;
    button.addEventListener("click", () => { button.parentElement.querySelector("source").remove(); button.remove(); });
  }
}
const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
const watch = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) {
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const section of document.querySelectorAll("main > section")) watch.observe(section);
"""


def page(title: str, navigation: str, content: str) -> str:
    """A whole HTML document that opens offline: style and script are inside, nothing else is asked for."""
    return (
        '<!doctype html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE_SHEET}{_dark_drawings(content)}</style>\n</head>\n<body>\n"
        f'<div class="page">\n{navigation}\n<main>\n{shared_definitions(content)}\n</main>\n</div>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _dark_drawings(content: str) -> str:
    """The dark scheme of all drawings in a page."""
    rules = dark_rules(".drawing", re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', content))
    return f"@media screen and (prefers-color-scheme: dark) {{\n{rules}\n}}\n"


def figure_block(svg: str, description: str, caption: str) -> str:
    """A drawing with its caption; it scrolls inside where the page is narrower than its letters can be read.

    Args:
        svg: as `figures.vector.inline_svg` gives it.
    """
    width, _ = svg_size(svg)
    words = f'role="img" aria-label="{escape(description)}"'
    style = f"width: 100%; max-width: {4 / 3 * width:.0f}px; min-width: {SMALLEST_SCALE * width:.0f}px"
    drawing = svg.replace("<svg ", f'<svg {words} style="{style}" ', 1)
    return f'<figure><div class="scroll drawing">{drawing}</div>\n<figcaption>{escape(caption)}</figcaption>\n</figure>'
