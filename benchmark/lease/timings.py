"""Missing timings of a lease, taken in the order of their value in a separate process."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from benchmark.lease.children import POLL_SECONDS, last_line
from benchmark.lease.programme import Item
from benchmark.lease.site import Site
from benchmark.lease.work import BROKEN
from benchmark.profiling import gpu_timings
from benchmark.profiling.gpu_timings import Entry

SECONDS = 75.0
REHEARSED_SHARE = 0.3
"""Share of a rehearsal's time."""
ITEM_SECONDS = 30.0
"""Time limit of one timing in seconds; beyond it the process is taken to hang."""


def take(site: Site, items: Sequence[Item], known: Sequence[Entry], timings: list[Entry]) -> None:
    """Take the timings not yet `known`, within the phase's time, and append them to `timings` one by one."""
    taken = {gpu_timings.key_of(entry) for entry in known}
    todo = [item for item in items if gpu_timings.key_of(site.origin | item) not in taken]
    site.say(f"{len(items)} timings, {len(items) - len(todo)} of them known")
    wanted = REHEARSED_SHARE * site.seconds if site.rehearsed else SECONDS
    limit = time.monotonic() + min(site.left, wanted)
    while todo and time.monotonic() < limit:
        todo = todo[_take_some(site, todo, limit, timings) :]
    site.say(f"{len(timings)} timed, {len(todo)} not reached")


def _take_some(site: Site, items: Sequence[Item], limit: float, timings: list[Entry]) -> int:
    """Measure in one process until the limit, or until an item hangs or crashes it. Returns the number of items dealt
    with."""
    child = site.work("timings", given=json.dumps(list(items)))
    done, since = 0, time.monotonic()
    while time.monotonic() < limit:
        ended = child.ended  # ended is asked before the lines are read, so that none is missed
        for line in child.new_lines():
            if line.startswith("{"):
                since, found = time.monotonic(), json.loads(line)
                if "end" in found:
                    done = found.pop("end") + 1
                    _note(site, items[done - 1], found, timings)
        if ended and child.returncode == 0:
            return len(items)
        if ended:
            if done < len(items) and child.returncode != BROKEN:
                site.say(f"{name_of(items[done])}: its process ended: {last_line(child)}")
                done += 1
            return done
        if time.monotonic() - since > ITEM_SECONDS * site.slack:
            child.stop(at_once=True)
            site.say(f"{name_of(items[done])}: given up after {ITEM_SECONDS * site.slack:.0f} s")
            return done + 1
        time.sleep(POLL_SECONDS)
    child.stop(at_once=True)
    return done


def _note(site: Site, item: Item, found: dict[str, object], timings: list[Entry]) -> None:
    if "error" in found:
        site.say(f"{name_of(item)}: {found['error']}")
        return
    about = {name: item[name] for name in ("what", "task", "algorithm", "mode", "copies", "runs") if name in item}
    timings.append(site.origin | about | found)
    numbers = {name: value for name, value in found.items() if isinstance(value, float)}
    site.say(f"{name_of(item)}: " + ", ".join(f"{name} {value:.3g}" for name, value in numbers.items()))


def name_of(item: Item) -> str:
    """Description of a timed item."""
    return " ".join(str(item[name]) for name in ("what", "task", "algorithm", "mode", "copies", "runs") if name in item)
