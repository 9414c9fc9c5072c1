"""Generated parts of documents: put between their marks, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures import documents as module
from figures.analysis import Analysis
from figures.documents import Part, documents
from results.errors import ResultsError
from results.records import Results


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tuple(Part("a.md", name, lambda _, word=name: f"| {word} |\n") for name in ("one", "two"))  # type: ignore[misc]
    monkeypatch.setattr(module, "parts", lambda: (*made, Part("b.md", "", lambda _: "whole\n")))


@pytest.mark.usefixtures("parts")
def test_parts_take_their_places(tmp_path: Path) -> None:
    around = "# A\n<!-- one -->\n{}<!-- end of one -->\nbetween\n<!-- two -->\n{}<!-- end of two -->\nafter\n"
    (tmp_path / "a.md").write_text(around.format("old\nlines\n", ""))
    made = documents(Analysis(Results(())), tmp_path)
    assert made == {tmp_path / "a.md": around.format("| one |\n", "| two |\n"), tmp_path / "b.md": "whole\n"}


@pytest.mark.usefixtures("parts")
def test_a_document_without_marks_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n<!-- one -->\n<!-- end of one -->\n")
    with pytest.raises(ResultsError, match=r"a\.md has no part between <!-- two --> and <!-- end of two -->"):
        documents(Analysis(Results(())), tmp_path)
