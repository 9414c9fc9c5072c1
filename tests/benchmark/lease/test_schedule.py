"""Runs that do not end are lost: what is chosen ends in time, in the order in which tasks matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmark.lease.schedule import Group, choose, grouped
from benchmark.requests import RunRequest
from results.keys import RunKey


def group(task: str, algorithm: str, seconds: float, seeds: int = 5, factor: float = 1.0, most: int = 9) -> Group:
    """Runs of `seconds` each; of several at once each more takes `factor` of that."""
    requests = tuple(RunRequest(RunKey(task, algorithm, "default", seed), 100) for seed in range(seeds))
    return Group(requests, lambda count: seconds * (1 + factor * (count - 1)), most)


def names(groups: list[Group]) -> list[tuple[str, str, int]]:
    return [(group.task, group.requests[0].key.algorithm, len(group.requests)) for group in groups]


def test_short_groups_are_taken_and_begun_last() -> None:
    """Of one task: 50 + 100 seconds fit 160, the group of 150 does not, nor a part of it."""
    groups = [group("a", "ip", 150.0, 1), group("a", "iql", 50.0, 1), group("a", "dgn", 100.0, 1)]
    assert names(choose(groups, 160.0)) == [("a", "dgn", 1), ("a", "iql", 1)]


def test_of_a_group_as_many_runs_as_end() -> None:
    assert names(choose([group("a", "iql", 10.0)], 35.0)) == [("a", "iql", 3)]
    assert names(choose([group("a", "iql", 10.0, factor=0.5)], 35.0)) == [("a", "iql", 5)]
    assert names(choose([group("a", "iql", 10.0, most=2)], 35.0)) == [("a", "iql", 2)]
    assert choose([group("a", "iql", 10.0, most=0)], 35.0) == []


def test_the_first_task_comes_before_shorter_runs_of_others() -> None:
    groups = [group("b", "ip", 60.0, 1), group("a", "iql", 5.0, 1), group("b", "iql", 30.0, 1)]
    assert names(choose(groups, 92.0)) == [("b", "ip", 1), ("b", "iql", 1)]
    assert names(choose(groups, 96.0)) == [("b", "ip", 1), ("b", "iql", 1), ("a", "iql", 1)]


kinds = st.tuples(st.sampled_from("abc"), st.floats(1, 300), st.integers(1, 5), st.floats(0, 1), st.integers(0, 6))


@given(st.lists(kinds, max_size=8), st.floats(0, 500))
def test_what_is_chosen_ends_in_time_the_longest_first(
    kinds: list[tuple[str, float, int, float, int]], left: float
) -> None:
    groups = [group(task, f"k{number}", *rest) for number, (task, *rest) in enumerate(kinds)]  # type: ignore[arg-type]
    chosen = choose(groups, left)
    assert sum(one.predicted for one in chosen) <= left + 1e-6
    assert [one.predicted for one in chosen] == sorted((one.predicted for one in chosen), reverse=True)
    assert all(len(one.requests) <= one.most for one in chosen)
    unchosen = [one for one in groups if one.most and one.task == groups[0].task]
    if unchosen and min(one.seconds(1) for one in unchosen) <= left:
        assert any(one.task == groups[0].task for one in chosen), "time goes to the first task where it can"


def test_seeds_of_a_cell_are_a_group() -> None:
    requests = [RunRequest(RunKey("a", name, "default", seed), 1) for seed in (0, 1) for name in ("ip", "iql")]
    assert grouped(requests) == [(requests[0], requests[2]), (requests[1], requests[3])]
