"""Numbers are read as by CityFlow's JSON reader; the values here were recorded with that reader's library."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.traffic.files.numbers import parse_json, parse_real

RECORDED = [
    ("9825979.1907483378", 9825979.190748336),
    ("0.89913944117715162", 0.8991394411771517),
    ("34648.485069506992057", 34648.485069507),
    ("94709.005474995252", 94709.00547499523),
    ("9446109.248343526119553", 9446109.248343527),
    ("201.01701887525156694", 201.01701887525155),
    ("5667.03384916362055e14", 5.667033849163621e17),
    ("-22.571182596842774211", -22.571182596842778),
    ("0.54076658947847093e18", 5.40766589478471e17),
    ("3751061.326771863740776e27", 3.751061326771864e33),
    ("455.7859630345278E-29", 4.5578596303452775e-27),
]
"""All of these differ from `float()` in the last bits."""


@pytest.mark.parametrize(("text", "value"), RECORDED)
def test_recorded_numbers(text: str, value: float) -> None:
    assert float(text) != value
    assert parse_real(text) == value
    assert parse_json(f'{{"a": [0.5, {text}]}}') == {"a": [0.5, value]}
    assert parse_json(f"[{text}]".encode()) == [value]


def test_where_the_seventeenth_digit_is_counted() -> None:
    assert parse_real("597811.237423664157") == 597811.2374236641


def by_the_rules(whole: str, fraction: str) -> float:
    """A positive number without exponent, digit by digit."""
    number: float = int(whole)
    significant = len(whole) - 1
    taken = 0
    for digit in fraction:
        if isinstance(number, int) and number > 2**53 - 1:
            number = float(number)
        if isinstance(number, float) and significant >= 17:
            break
        number = number * 10 + int(digit)
        significant += number > 0
        taken += 1
    return float(number) / float(f"1e{taken}")


@given(st.integers(0, 10**9), st.text("0123456789", min_size=1, max_size=24))
def test_every_length_follows_the_rules(whole: int, fraction: str) -> None:
    assert parse_real(f"{whole}.{fraction}") == by_the_rules(str(whole), fraction)
    assert parse_real(f"-{whole}.{fraction}") == -by_the_rules(str(whole), fraction)


@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 15))
def test_short_numbers_are_those_of_python(digits: int, places: int) -> None:
    text = f"{digits / 10**places:.{places}f}"
    if len(text.strip("-").replace(".", "")) <= 15:
        assert parse_real(text) == float(text)
        assert parse_json(text) == json.loads(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_long_numbers_are_close_to_those_of_python(value: float) -> None:
    assert parse_real(repr(value)) == pytest.approx(value, rel=1e-14, abs=1e-307)


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_everything_but_reals_is_plain_json(value: Any) -> None:
    text = json.dumps(value)
    assert repr(parse_json(text)) == repr(json.loads(text))
    assert repr(parse_json(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))) == repr(value)


def test_integers_beyond_64_bits_are_reals() -> None:
    assert repr(parse_json("[18446744073709551615]")) == "[18446744073709551615]"
    assert repr(parse_json("[18446744073709551616, -9223372036854775809]")) == str([2.0**64, -(2.0**63)])
    assert parse_json("1" + "0" * 300) == pytest.approx(1e300)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2", "Expecting"),
        ("{'a': 1}", "property name"),
        ("[NaN]", "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        ("[1e400]", "too large"),
        ("[1" + "0" * 5000 + "]", "too large"),
        ("[0.1e99999999999999999999999999999]", "too large"),
        ("[" * 100_000, "nested too deep"),
        ("", "Expecting value"),
        (b"[\xff]", "decode"),
    ],
)
def test_complaints(text: str | bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_json(text)


def test_tiny_numbers() -> None:
    assert parse_real("1e-320") == 1e-320
    assert parse_real("1e-99999999999999999999999999999") == 0
