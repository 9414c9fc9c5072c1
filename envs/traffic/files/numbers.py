"""A JSON parser that reads numbers exactly like CityFlow's.

CityFlow's parser does not always round correctly: a number of 16 or more digits may differ from Python's `float()` in
its last bit, and the last bit of a coordinate can decide which vehicle yields at a crossing. A number [-]W.F[e X] with
integer part W and fraction F is read as follows:

1. W is a 64-bit integer (beyond that range, digits are folded into a double). Digits of F are appended to it as long as
   it was at most 2^53 - 1 before; then it becomes a double.
2. Further digits of F are folded in as d * 10 + digit while fewer than 17 significant digits have been counted; the
   rest are skipped. The counter is 0 after the first digit of W and counts a later digit once the number is non-zero.
   (Whether the first digit of W counts matters only for numbers of 18 digits or more.)
3. With k digits of F consumed and p = X - k, the value is d * 10^p, or d / 10^-p if p is negative.

Numbers of up to 15 digits without an exponent are read as by `float()`.
"""

from __future__ import annotations

import json
from typing import Any

_LARGEST_EXTENDED = 2**53 - 1
_SIGNIFICANT_DIGITS = 17
_LARGEST_EXPONENT = 308
_POWERS_OF_TEN = tuple(float(f"1e{exponent}") for exponent in range(_LARGEST_EXPONENT + 1))
_SHAPE = bytes.maketrans(b"123456789.E+", b"0000000000e-")
"""Translation that makes all digits and points identical, so that long numbers and exponents can be found by plain text
search."""
_LONG_NUMBER, _EXPONENTS = b"0" * 17, (b"0e0", b"0e-")
_SHORT_NUMBER = 16
"""Length in characters of up to 15 digits and a point."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; bytes are decoded as UTF-8.

    Raises ValueError (`json.JSONDecodeError` with line and column where possible) for text that is not JSON, for NaN
    and Infinity, for numbers beyond the range of a double, and for text that is nested too deeply.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        if _has_difficult_numbers(raw):
            return json.loads(
                decoded, parse_float=parse_real, parse_int=_parse_integer, parse_constant=_refuse_constant
            )
        return json.loads(decoded, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("objects or lists are nested too deep") from None


def parse_real(text: str) -> float:
    """The double that CityFlow reads from a JSON number. Raises ValueError if it is beyond the range of a double."""
    if len(text) <= _SHORT_NUMBER and "e" not in text and "E" not in text:
        return float(text)
    mantissa, _, exponent = text.lower().partition("e")
    negative = mantissa[0] == "-"
    whole, _, fraction = mantissa[negative:].partition(".")
    value, taken = _mantissa(whole, fraction, 2**63 if negative else 2**64 - 1)
    value = _scaled(value, (int(exponent[:20]) if exponent else 0) - taken, text)
    return -value if negative else value


def _mantissa(whole: str, fraction: str, largest_whole: int) -> tuple[float, int]:
    """The digits of a number as a double, and the number of fractional digits that it includes."""
    digits = int(whole + fraction) if len(whole) + len(fraction) <= 19 else 2**64
    if digits // 10 <= _LARGEST_EXTENDED:
        return float(digits), len(fraction)
    number = 0
    for position, digit in enumerate(whole):
        if number * 10 + int(digit) > largest_whole:
            return _folded(float(number), whole[position:]), 0
        number = number * 10 + int(digit)
    significant = len(whole) - 1
    taken = 0
    while taken < len(fraction) and number <= _LARGEST_EXTENDED:
        number = number * 10 + int(fraction[taken])
        taken += 1
        significant += number > 0
    further = fraction[taken : taken + max(_SIGNIFICANT_DIGITS - significant, 0)]
    return _folded(float(number), further), taken + len(further)


def _folded(value: float, digits: str) -> float:
    for digit in digits:
        value = value * 10.0 + int(digit)
    return value


def _scaled(value: float, power: int, text: str) -> float:
    """The product value * 10^power. Powers below the table divide in two steps, as in CityFlow's parser."""
    if power >= 0:
        if power <= _LARGEST_EXPONENT:
            value *= _POWERS_OF_TEN[power]
        if power > _LARGEST_EXPONENT or value == float("inf"):
            raise ValueError(f"the number {text[:40]} is too large for a double")
        return value
    if power >= -_LARGEST_EXPONENT:
        return value / _POWERS_OF_TEN[-power]
    value /= _POWERS_OF_TEN[_LARGEST_EXPONENT]
    power += _LARGEST_EXPONENT
    return value / _POWERS_OF_TEN[-power] if power >= -_LARGEST_EXPONENT else 0.0


def _parse_integer(text: str) -> int | float:
    """An integer, exact up to 64 bits; longer ones become reals."""
    digits = text.lstrip("-")
    if len(digits) <= 20 and int(digits) <= (2**64 - 1 if digits == text else 2**63):
        return int(text)
    return parse_real(text)


def _has_difficult_numbers(text: bytes) -> bool:
    """Whether some number in the text may be read differently by `float()` and `int()`."""
    shape = text.translate(_SHAPE)
    return _LONG_NUMBER in shape or any(exponent in shape for exponent in _EXPONENTS)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
