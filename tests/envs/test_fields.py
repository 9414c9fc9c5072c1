"""Fields of settings: what they take, how text becomes a value, and what is said of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from envs.fields import Count, Form, Kind, Natural, Range, Share, Weight, check, closest, kinds

Word = Annotated[str, Form(r"\S+", "text without spaces")]


@dataclass(frozen=True, slots=True)
class Settings:
    """One field of every kind."""

    choice: Literal["one", "two"] = "one"
    count: Count = 1
    natural: Natural = 0
    share: Share = 0.5
    weight: Weight = 0.0
    positive: Annotated[float, Range(above=0)] = 1.0
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    yes: bool = True
    maybe: Count | None = None
    perhaps: Natural | None = None
    word: Word | None = None
    lines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("choice", "two", "two"),
        ("count", "1e3", 1000),
        ("count", "+1_000", 1000),
        ("natural", "0", 0),
        ("share", "1", 1.0),
        ("share", ".5", 0.5),
        ("weight", "1e-3", 0.001),
        ("seed", str(2**63 - 1), 2**63 - 1),
        ("yes", "False", False),
        ("maybe", "None", None),
        ("maybe", "3", 3),
        ("word", "none", None),
        ("word", "long", "long"),
        ("lines", "none", ()),
        ("lines", "one line", ("one line",)),
        ("lines", '["a", "b c"]', ("a", "b c")),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: Any) -> None:
    parsed = kinds(Settings)[name].parse(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert getattr(Settings(**{name: parsed}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("choice", "three", "one of one, two"),
        ("choice", "", "one of one, two"),
        ("count", "0", "a positive whole number"),
        ("count", "1.5", "a positive whole number"),
        ("count", "none", "a positive whole number"),
        ("natural", "-1", "zero or a positive whole number"),
        ("share", "1.01", "a number from 0 to 1"),
        ("share", "nan", "a number from 0 to 1"),
        ("weight", "-1", "zero or a positive number"),
        ("weight", "inf", "zero or a positive number"),
        ("positive", "0", "a positive number"),
        ("seed", str(2**63), "a whole number from 0 to 2^63 - 1"),
        ("yes", "1", "true or false"),
        ("maybe", "0", "none or a positive whole number"),
        ("perhaps", "-1", "none, zero or a positive whole number"),
        ("word", "a b", "none or text without spaces"),
        ("lines", "[1]", "texts"),
        ("lines", '["a', "texts"),
    ],
)
def test_other_text_is_told_what_is_expected(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        kinds(Settings)[name].parse(text)
    assert str(caught.value) == f"expected {words}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("choice", 1),
        ("count", 1.0),
        ("count", True),
        ("share", "0.5"),
        ("share", float("nan")),
        ("yes", 1),
        ("maybe", 0),
        ("word", ""),
        ("lines", ["a"]),
        ("lines", (1,)),
    ],
)
def test_values_are_checked_too(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} = .*: expected {kinds(Settings)[name].words[:4]}"):
        Settings(**{name: value})


def test_whole_numbers_are_numbers() -> None:
    """A float stays what was given to the class; `convert`, which command lines and overrides go through, makes one."""
    assert Settings(share=1).share == 1
    assert type(kinds(Settings)["share"].convert(1)) is float
    assert kinds(Settings)["count"].convert("7") == 7
    assert kinds(Settings)["yes"].convert(False) is False


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Range(), "a number"),
        (Range(2), "a number of at least 2"),
        (Range(most=7), "a number of at most 7"),
        (Range(above=2.5), "a number above 2.5"),
        (Range(1), "a number of at least 1"),
        (Range(0.1, 65_536), "a number from 0.1 to 65536"),
    ],
)
def test_bounds_in_words(bounds: Range, words: str) -> None:
    assert Kind(float, bounds=bounds).words == words


def test_a_field_has_one_type() -> None:
    assert Kind.of(int | None) == Kind(int, optional=True)
    assert Kind.of(Count | None) == Kind(int, optional=True, bounds=Range(1))
    with pytest.raises(TypeError, match="expected one type, or one and None"):
        Kind.of(int | str)


def test_hints() -> None:
    assert closest("hop", ("hops", "heads")) == "did you mean hops?"
    assert closest("xyz", ("hops", "heads")) == ""
    assert closest("hea", ("heads", "head"), most=1) == "did you mean head?"
