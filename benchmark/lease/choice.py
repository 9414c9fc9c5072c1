"""Choice of the mode in which the runs of a lease are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.errors import UserError
from benchmark.lease.gpu_tests import GpuTests
from benchmark.lease.site import Site
from benchmark.modes import PLAIN, mode_of
from benchmark.profiling.gpu_timings import Entry

COMPARED = "graph"
"""Reference for the losses of faster modes: captured float32."""
ALIKE = 0.1
"""Largest relative difference of losses over the first block at which two modes count as equivalent."""


def choose_mode(
    site: Site,
    wanted: str | None,
    published: Sequence[Mapping[str, Any]],
    earlier: Sequence[str | None],
    tests: GpuTests,
    timings: Sequence[Entry],
) -> str:
    """The mode for new runs, by these rules in turn:

      1. the mode `wanted`, where one is named;
      2. the mode of most earlier runs that the new ones extend, so that runs of one kind differ in their seeds alone;
      3. the fastest mode that is named in no failed test and whose losses agree with those of captured float32;
      4. captured float32, where no test has passed.

    Args:
        published: runs as listed in the manifest of a set.
        earlier: modes of earlier leases.

    Raises UserError where the mode of rule 1 or 2 is not available here.
    """
    if wanted is None:
        settings = [run["config"]["training"] for run in published if run["status"]["state"] == "finished"]
        before = Counter([*map(mode_of, settings), *earlier])
        wanted = before.most_common(1)[0][0] if before else None
        if wanted is not None:
            site.say(f"earlier runs were made in mode {wanted}, which is used again")
    if wanted is not None:
        if wanted not in site.modes:
            raise UserError(f"mode {wanted} is not available here: {site.facts['modes'][wanted]}")
        return wanted
    for mode in reversed(site.modes):
        reason = doubt(mode, tests, timings)
        if not reason:
            return mode
        site.say(f"mode {mode} is not used: {reason}")
    return PLAIN


def doubt(mode: str, tests: GpuTests, timings: Sequence[Entry]) -> str:
    """Reason not to make runs in a mode; empty where there is none."""
    if mode == PLAIN:
        return ""
    failed = [name for name in tests.failures if any(word in name for word in mode.split("+"))]
    if failed:
        return f"{len(failed)} of its tests failed, for example {failed[0]}"
    if mode != COMPARED and not tests.trusted:
        return "no GPU test has passed with this code"
    timed = [entry for entry in timings if entry.get("mode") == mode and "losses" in entry]
    if not timed:
        return "it has no timings"
    compared = {(e["task"], e["algorithm"]): e for e in timings if e.get("mode") == COMPARED and "losses" in e}
    for entry in timed:
        other = compared.get((entry["task"], entry["algorithm"]), entry)
        for name, value in other["losses"].items():
            if abs(entry["losses"].get(name, float("nan")) - value) <= ALIKE * max(abs(value), 1e-3):
                continue
            found = entry["losses"].get(name)
            return f"{name} of {entry['algorithm']} is {found}, but {value:.4g} in mode {COMPARED}"
    return ""
