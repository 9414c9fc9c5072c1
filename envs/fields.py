"""Settings as dataclasses: the annotation of a field determines its checks, its parsing from text and its `--help`.

    @dataclass(frozen=True, slots=True)
    class Settings:
        reward: Literal["local", "shared"] = "local"
        '''Recipients of the reward.'''
        episode_length: Annotated[int, Range(1)] = 25
        '''Environment steps per episode.'''

        def __post_init__(self) -> None:
            check(self)

A field has the type int, float, bool, str, a `Literal` of strings or tuple[str, ...], or one of these or None; `Range`
and `Form` restrict it. Settings of training, environments, algorithms and cluster profiles are such dataclasses.

Libraries such as tyro build a whole command line from a dataclass. Here the dataclasses are known only after `--task`
and `--algorithm`, a training node has only torch, numpy, numba and tqdm, and `--help` must not import the algorithms,
which load torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number: `least` and `most` are among its values, `above` is not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """A pattern that strings must match completely, and a description of it."""

    pattern: str
    words: str


Count = Annotated[int, Range(1)]
"""A positive whole number."""
Natural = Annotated[int, Range(0)]
"""Zero or a positive whole number."""
Share = Annotated[float, Range(0, 1)]
"""A number from 0 to 1."""
Weight = Annotated[float, Range(0)]
"""Zero or a positive number."""

_SEVERAL = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that a field accepts."""

    base: Any
    """int, float, bool, str, tuple for several strings, or object for values that only its class can check."""
    optional: bool = False
    """Whether None is accepted; its text is none."""
    choices: tuple[str, ...] = ()
    """The accepted strings; empty if any string is."""
    bounds: Range | None = None
    form: Form | None = None

    @staticmethod
    def of(annotation: Any) -> Kind:
        """Read a type. Raises TypeError for several types in one."""
        union = get_origin(annotation) in (Union, UnionType)
        options = [option for option in (get_args(annotation) if union else (annotation,)) if option is not NoneType]
        if len(options) != 1:
            raise TypeError(f"{annotation}: expected one type, or one and None")
        option, optional = options[0], union
        metadata: tuple[Any, ...] = ()
        if get_origin(option) is Annotated:
            option, *rest = get_args(option)
            metadata = tuple(rest)
        bounds = next((item for item in metadata if isinstance(item, Range)), None)
        form = next((item for item in metadata if isinstance(item, Form)), None)
        if get_origin(option) is Literal:
            return Kind(str, optional, get_args(option))
        if option == _SEVERAL:
            return Kind(tuple, optional, form=form)
        if option in (int, float, bool, str):
            return Kind(option, optional, (), bounds, form)
        return Kind(object, optional)

    @property
    def words(self) -> str:
        """Description of the accepted values, for example: a whole number from 1 to 64."""
        words = self._words()
        return f"none{',' if words.startswith('zero') else ' or'} {words}" if self.optional else words

    def _words(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.form is not None:
            return self.form.words
        if self.base in (int, float):
            return _number_words("whole number" if self.base is int else "number", self.bounds)
        return {bool: "true or false", str: "text", tuple: "texts"}.get(self.base, "a table")

    def accepts(self, value: Any) -> bool:
        """Whether the field accepts a value."""
        if value is None:
            return self.optional
        if self.base is object:
            return True
        if self.base is bool:
            return isinstance(value, bool)
        if self.base in (int, float):
            return self._is_number(value) and self._in_bounds(value)
        texts = value if self.base is tuple else (value,)
        if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
            return False
        if self.choices:
            return value in self.choices
        return self.form is None or all(re.fullmatch(self.form.pattern, text) for text in texts)

    def _is_number(self, value: Any) -> bool:
        kinds = int if self.base is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)

    def _in_bounds(self, value: float) -> bool:
        if self.bounds is None:
            return True
        least, most, above = self.bounds.least, self.bounds.most, self.bounds.above
        return not (
            (least is not None and value < least)
            or (most is not None and value > most)
            or (above is not None and value <= above)
        )

    def parse(self, text: str) -> Any:
        """The value of a string from a command line or file. Raises ValueError with the accepted values."""
        value = self._read(text)
        if self.base is object or not self.accepts(value):
            raise ValueError(f"expected {self.words}")
        return value

    def _read(self, text: str) -> Any:
        """The string converted to the field's type if possible, otherwise the string itself."""
        if self.optional and text.lower() == "none":
            return None
        if self.base is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if self.base is int:
            if re.fullmatch(r"[+-]?\d[\d_]*", text):
                return int(text)
            number = _number(text)
            return int(number) if number is not None and number.is_integer() else text
        if self.base is float:
            number = _number(text)
            return text if number is None else number
        return _lines(text) if self.base is tuple else text

    def convert(self, value: Any) -> Any:
        """The value converted to the field's type: strings are parsed, whole numbers become floats where expected."""
        if isinstance(value, str):
            return self.parse(value)
        if self.base is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return value


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _lines(text: str) -> Any:
    """Several strings: none, a list as in TOML, or a single string."""
    if not text.startswith("["):
        return () if text == "none" else (text,)
    try:
        return tuple(tomllib.loads(f"lines = {text}")["lines"])
    except tomllib.TOMLDecodeError:
        return text


def _number_words(noun: str, bounds: Range | None) -> str:
    least, most, above = (None,) * 3 if bounds is None else (bounds.least, bounds.most, bounds.above)
    if least is not None and most is not None:
        return f"a {noun} from {_shown(least)} to {_shown(most)}"
    if above == 0 or (least == 1 and noun == "whole number"):
        return f"a positive {noun}"
    if least == 0:
        return f"zero or a positive {noun}"
    limits = {"of at least": least, "above": above, "of at most": most}
    return " ".join(
        [f"a {noun}", *(f"{words} {_shown(bound)}" for words, bound in limits.items() if bound is not None)]
    )


def _shown(bound: float) -> str:
    """A bound as text; limits of integer types as powers of two."""
    if bound != int(bound):
        return f"{bound:g}"
    exponent = int(bound).bit_length()
    return f"2^{exponent} - 1" if exponent >= 31 and int(bound) + 1 == 2**exponent else str(int(bound))


@functools.cache
def kinds(settings: type) -> dict[str, Kind]:
    """The accepted values of a dataclass's fields by name."""
    hints = get_type_hints(settings, include_extras=True)
    return {field.name: Kind.of(hints[field.name]) for field in dataclasses.fields(settings)}


def check(settings: object) -> None:
    """Raises ValueError for the first field of a dataclass with a value that its type does not allow."""
    made_as: type = type(settings)
    for name, kind in kinds(made_as).items():
        if not kind.accepts(value := getattr(settings, name)):
            raise ValueError(f"{name} = {value!r}: expected {kind.words}")


def closest(given: str, names: Iterable[str], most: int = 3, cutoff: float = 0.6) -> str:
    """A hint for a mistyped name, for example: did you mean hops or heads? Empty where no name is similar."""
    close = difflib.get_close_matches(given, list(names), n=most, cutoff=cutoff)
    return f"did you mean {' or '.join(close)}?" if close else ""
