"""DEVIATIONS.md in the report: every row, nothing but text and a few marks, links that lead to rows."""

from __future__ import annotations

import re
from pathlib import Path

from figures.report.deviations import FILE, deviations_html, link_deviations, markdown_html, table_cells


def test_every_deviation_is_a_row_with_its_cells() -> None:
    text = FILE.read_text(encoding="utf-8")
    ids = [identifier for identifier in re.findall(r"^\| ([\w-]+) \|", text, re.MULTILINE) if identifier != "id"]
    html = deviations_html()
    assert re.findall(r'id="deviation-([^"]+)"', html) == ids
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", html)
    assert {row.count("<td>") for row in rows} == {3}
    assert re.findall("<h3>(.*?)</h3>", html) == re.findall(r"^## (.*)$", text, re.MULTILINE)


def test_marks_are_understood_and_everything_is_escaped() -> None:
    html = markdown_html(
        "# Title\n\nIt <b>is</b> `a<b`\nand **so**, see [there](http://example.com/x) or [here](figures).\n\n"
        "## Part & more\n\n| id | what |\n|---|---:|\n| one-a | x \\| y |\n\n| two-b | <script> |\n"
    )
    assert html == (
        "<p>It &lt;b&gt;is&lt;/b&gt; <code>a&lt;b</code> and <strong>so</strong>, see there (http://example.com/x) or "
        "here.</p>\n<h3>Part &amp; more</h3>\n"
        '<div class="scroll"><table class="prose"><thead><tr><th class="plain" scope="col">id</th>'
        '<th class="plain" scope="col">what</th></tr></thead><tbody>'
        '<tr><th scope="row" id="deviation-one-a">one-a</th><td>x | y</td></tr>'
        '<tr><th scope="row" id="deviation-two-b">two-b</th><td>&lt;script&gt;</td></tr></tbody></table></div>'
    )


def test_two_tables_stay_two() -> None:
    table = "| a |\n|---|\n| b |\n"
    assert markdown_html(f"{table}\n{table}").count("<table") == 2
    assert table_cells("| a |  | c |") == ["a", "", "c"]


def test_ids_become_links_in_text_alone(tmp_path: Path) -> None:
    path = tmp_path / "DEVIATIONS.md"
    path.write_text("| id | what |\n|---|---|\n| ip-x | a |\n| ip-x-y | b |\n| plain | c |\n")
    link = '<a href="#deviation-{0}">{0}</a>'
    html = '<td data-sort="ip-x">see ip-x, ip-x-y; not ip-x-z, plain</td>'
    expected = f'<td data-sort="ip-x">see {link.format("ip-x")}, {link.format("ip-x-y")}; not ip-x-z, plain</td>'
    assert link_deviations(html, path) == expected
    assert link_deviations(html, tmp_path / "none") == html


def test_an_installed_package_says_where_they_are(tmp_path: Path) -> None:
    assert "root of the project" in deviations_html(tmp_path / "DEVIATIONS.md")
