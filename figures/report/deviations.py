"""DEVIATIONS.md as a chapter of the report; of Markdown, only its headings, paragraphs and tables are supported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "DEVIATIONS.md"
HEADING = re.compile(r"(#+)\s+(.*)")
RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+")
INLINE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|\[(?P<words>[^\]]+)\]\((?P<target>[^)\s]+)\)")
CELL_BREAK = re.compile(r"(?<!\\)\|")


def deviations_html(path: Path = FILE) -> str:
    """The file as HTML; where it is missing, as in an installed package, the place where it is found."""
    if not path.exists():
        return f"<p>They are listed in <code>{path.name}</code> at the root of the project's repository.</p>"
    return markdown_html(path.read_text(encoding="utf-8"))


def markdown_html(text: str) -> str:
    """Headings (one level lower, without the first), paragraphs and tables as HTML; all text is escaped.

    Rows that follow a table after a blank line belong to it, since they have no header.
    """
    parts: list[str] = []
    for kind, lines in _blocks(text):
        if kind == "heading":
            level, words = len(lines[0][1]), lines[0][2]
            if level > 1:
                parts.append(f"<h{level + 1}>{inline_html(words)}</h{level + 1}>")
        elif kind == "table":
            parts.append(_table([found[0] for found in lines]))
        else:
            parts.append(f"<p>{inline_html(' '.join(found[0].strip() for found in lines))}</p>")
    return "\n".join(parts)


def link_deviations(html: str, path: Path = FILE) -> str:
    """The text of the page, in which ids of deviations of more than one word become links to their rows."""
    if not path.exists():
        return html
    ids = [
        name for name in re.findall(r"^\| ([\w-]+) \|", path.read_text(encoding="utf-8"), re.MULTILINE) if "-" in name
    ]
    if not ids:
        return html
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(sorted(ids, key=len, reverse=True))})(?![\w-])")
    parts = re.split(r"(<[^>]*>)", html)  # text, tag, text, tag, ...
    parts[::2] = [
        pattern.sub(lambda found: f'<a href="#deviation-{found.group()}">{found.group()}</a>', part)
        for part in parts[::2]
    ]
    return "".join(parts)


def inline_html(text: str) -> str:
    """Code, bold text and the text of links; everything else unchanged and escaped.

    Of links the text is kept, followed by the address where it is outside the project: the report opens without a
    network.
    """
    parts, end = [], 0
    for found in INLINE.finditer(text):
        parts += [escape(text[end : found.start()]), _marked(found)]
        end = found.end()
    return "".join([*parts, escape(text[end:])])


def table_cells(line: str) -> list[str]:
    r"""The cells of a row; `\|` is a bar inside a cell."""
    return [cell.strip().replace("\\|", "|") for cell in CELL_BREAK.split(line.strip().removeprefix("|"))][
        : -1 if line.rstrip().endswith("|") else None
    ]


def _marked(found: re.Match[str]) -> str:
    code, bold, words, target = found.group("code", "bold", "words", "target")
    if code is not None:
        return f"<code>{escape(code)}</code>"
    if bold is not None:
        return f"<strong>{escape(bold)}</strong>"
    return escape(words) + (f" ({escape(target)})" if ":" in target else "")


Line = tuple[str, str, str]
"""A line; of a heading, its marks and its text."""


def _blocks(text: str) -> Iterator[tuple[str, list[Line]]]:
    """Adjacent lines of one kind; tables separated only by blank lines are joined."""
    pending: list[Line] = []
    for kind, lines in groupby(map(_line, text.splitlines()), key=lambda pair: pair[0]):
        block = [line for _, line in lines]
        if kind == "table":
            if pending and len(block) > 1 and RULE.fullmatch(block[1][0].strip()):
                yield "table", pending
                pending = []
            pending += block
        elif kind != "blank":
            if pending:
                yield "table", pending
                pending = []
            yield from ((kind, [line]) for line in block) if kind == "heading" else [(kind, block)]
    if pending:
        yield "table", pending


def _line(line: str) -> tuple[str, Line]:
    heading = HEADING.fullmatch(line)
    if heading is not None:
        return "heading", (line, heading.group(1), heading.group(2))
    kind = "table" if line.startswith("|") else "text" if line.strip() else "blank"
    return kind, (line, "", "")


def _table(lines: Sequence[str]) -> str:
    """A table whose first cells are ids, the targets of links."""
    header, *rows = [table_cells(line) for line in lines if not RULE.fullmatch(line.strip())]
    head = "".join(f'<th class="plain" scope="col">{inline_html(name)}</th>' for name in header)
    body = []
    for first, *others in rows:
        cells = "".join(f"<td>{inline_html(cell)}</td>" for cell in others)
        body.append(f'<tr><th scope="row" id="deviation-{escape(first)}">{inline_html(first)}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="prose"><thead><tr>{head}</tr></thead><tbody>'
        f"{''.join(body)}</tbody></table></div>"
    )
