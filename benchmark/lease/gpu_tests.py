"""The tests that need a GPU, run as one process with a time limit, and their outcome."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.lease.site import Site

FILES = ("tests/benchmark/test_gpu*.py", "tests/algorithms/test_gpu*.py")
NEEDED = ("pytest", "hypothesis", "jaxtyping")
"""Packages without which no test can be collected; those for parallel tests and time limits are optional."""
WORKERS = 6
TEST_SECONDS = 60
"""Time limit of a single test in seconds."""
SHARE, MOST_SECONDS = 0.2, 120.0
"""Time limit of all tests: a share of the lease, and an upper bound in seconds."""
SHOWN = 12
PASSED_BEFORE = "passed in an earlier lease of this commit"
_RESULT = re.compile(r"^(?:\[gw\d+\].*?)?\b(PASSED|FAILED|ERROR|SKIPPED)\b.*?(tests/\S+)", re.MULTILINE)
_PLAIN = re.compile(r"^(tests/\S+) (PASSED|FAILED|ERROR|SKIPPED)", re.MULTILINE)


@dataclass(slots=True)
class GpuTests:
    """Counts of test outcomes, parsed from the output of a verbose pytest, which may have been cut off."""

    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    """Names of the failed tests."""
    note: str = ""
    """Why there are no tests, or not all of them."""
    output: str = ""

    @property
    def trusted(self) -> bool:
        """Whether tests of this code have passed, in this lease or an earlier one."""
        return self.passed > 0 or self.note == PASSED_BEFORE

    def read(self, output: str) -> None:
        """Parse the output of pytest and add its outcomes."""
        self.output = output
        found = {name: result for result, name in _RESULT.findall(output)}
        found |= dict(_PLAIN.findall(output))
        results = list(found.values())
        self.passed, self.skipped = results.count("PASSED"), results.count("SKIPPED")
        self.failures = [name for name, result in found.items() if result in ("FAILED", "ERROR")]

    def summary(self) -> list[str]:
        """A summary in lines of text."""
        lines = [f"tests: {self.passed} passed, {len(self.failures)} failed, {self.skipped} skipped"]
        lines += [f"FAILED {name}" for name in self.failures[:SHOWN]]
        if len(self.failures) > SHOWN:
            lines.append(f"and {len(self.failures) - SHOWN} more")
        if not self.passed and not self.failures and not self.skipped:
            lines.append("no test was begun: " + (self.output.strip().splitlines() or ["pytest said nothing"])[-1])
        return lines


def command(packages: Mapping[str, str | None], files: list[str]) -> tuple[list[str], str]:
    """The command line that runs the tests with the available packages, and the reason where they cannot be run.

    The project's own pytest options are omitted, since they require packages that a bare GPU machine lacks.
    """
    missing = [name for name in NEEDED if not packages.get(name)]
    if missing:
        return [], f"{', '.join(missing)} missing here"
    if not files:
        return [], f"no file matches {' or '.join(FILES)}"
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu and not slow",
        "-v",
        "-rfE",
        "--tb=short",
        "-p",
        "no:cacheprovider",
    ]
    line += ["-o", "addopts=", *files]
    if packages.get("xdist"):
        line += ["-n", str(min(WORKERS, os.cpu_count() or 1))]
    if packages.get("pytest_timeout"):
        line += [f"--timeout={TEST_SECONDS}"]
    return line, ""


def run(site: Site, files: list[str]) -> GpuTests:
    """Run the tests within their share of the lease; failures are reported and stop nothing."""
    tests = GpuTests()
    line, tests.note = command(site.facts["packages"], files)
    if tests.note:
        site.say(f"tests skipped: {tests.note}")
        return tests
    child = site.start("tests", line)
    limit = max(0.0, min(site.left, max(15.0, SHARE * site.seconds), MOST_SECONDS))
    if not child.wait(limit):
        child.stop()
        tests.note = f"ended after {limit:.0f} s"
        site.say(f"tests were {tests.note}")
    tests.read(child.log.read_text(errors="replace"))
    for text in tests.summary():
        site.say(text)
    return tests
