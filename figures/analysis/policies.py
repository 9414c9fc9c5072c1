"""Headline policies, learning signals and collapsed policies of algorithms.

The headline policy of an algorithm that learns a stochastic policy is the sampled one, since both its definition and
its behaviour draw actions. The headline policy of a Q-learner is the greedy one, since its exploration noise is not
part of what it learns.
"""

from __future__ import annotations

import numpy as np

from results.records import POLICIES, Run

STOCHASTIC = frozenset({"ip", "maddpg", "maddpgs", "pic"})
"""Algorithms that learn a stochastic policy; every other one is a Q-learner."""
MIXERS = frozenset({"qmix", "vdn"})
"""Algorithms whose value is the team's, whatever reward the agents get."""
CENTRAL_CRITICS = frozenset({"maddpg", "maddpgs", "pic"})
"""Algorithms whose setting `value` says whether critics are fitted to the team's mean reward or to each agent's."""
TEAM, AGENT, DIFFERENCE = "team reward", "agent rewards", "difference rewards"
"""Learning signals: one reward for all, each agent's reward, or each agent's difference to the team's."""
REWARDS = {"shared": TEAM, "local": AGENT, "difference": DIFFERENCE}
"""Values of the setting environment.reward and the rewards they mean."""
ONE_PAYOFF = ("game/climbing_", "game/penalty_", "game/two_step_", "game/walk_")
"""Prefixes of the names of games that pay all agents the same, whatever the setting."""
ENTROPY = "policy/entropy"
ENTROPY_BOUND = 0.1
"""Entropy in nats per agent below which a policy counts as deterministic; the uniform policy has 1.6 (five actions) to
2.2 (nine)."""
LEARNED = 10.0
"""Normalised score in % from which on a run counts as having learned something."""

POLICY_WORDS = (
    "Each algorithm is represented by its headline policy: sampled for those that learn a stochastic policy (IP, "
    "MADDPG, MADDPGS, PIC), greedy for Q-learners."
)
LEARNED_WORDS = (
    "Learned from: one team reward, the mean of the agents' (QMIX, VDN, and MADDPG, MADDPGS, PIC unless their critics "
    "are fitted to each agent's), each agent's reward, or difference rewards (what the team would lose without the "
    "agent)."
)
COLLAPSED_WORDS = (
    f"Collapsed: in most seeds the mean entropy of the policy fell below {ENTROPY_BOUND:g} nats while the "
    f"normalised score was below {LEARNED:g} %, and the final one was no higher."
)


def headline_policy(algorithm: str) -> str:
    """The policy by which an algorithm is judged, `sampled` or `greedy`."""
    return "sampled" if algorithm in STOCHASTIC else "greedy"


def other_policy(algorithm: str) -> str:
    """The policy shown next to the headline one in tables."""
    return next(name for name in POLICIES if name != headline_policy(algorithm))


def learned_from(run: Run) -> str:
    """`TEAM`, `AGENT` or `DIFFERENCE`; `TEAM` where the config names no reward, which only MPE's default does."""
    reward = str(run.config.get("environment", {}).get("reward", "shared"))
    value = run.config.get("algorithm_settings", {}).get("value", "team")
    if run.key.task.startswith(ONE_PAYOFF) or run.key.algorithm in MIXERS:
        return TEAM
    if run.key.algorithm in CENTRAL_CRITICS and value == "team":
        return TEAM
    return REWARDS.get(reward, reward)


def entropies(run: Run) -> list[tuple[int, float]]:
    """Step and mean entropy of the policy in nats, wherever it was logged."""
    return [(row.step, row.values[ENTROPY]) for row in run.metrics if ENTROPY in row.values]


def collapsed(run: Run, scale: tuple[float, float] | None) -> bool:
    """Whether the policy became almost deterministic before it had learned anything, and remained useless.

    Args:
        scale: (offset, factor) of the normalised score in %, as given by `statistics.normalisation`; without one no
        policy counts as collapsed.
    """
    continuous = run.config.get("environment", {}).get("actions") == "continuous"  # their entropy has no lower bound
    low = [step for step, value in entropies(run) if value < ENTROPY_BOUND]
    if continuous or not low or scale is None:
        return False
    offset, factor = scale
    policy = headline_policy(run.key.algorithm)
    shares = [
        (evaluation.step, (float(np.mean(evaluation.returns)) - offset) * factor)
        for evaluation in run.evaluations
        if evaluation.policy == policy
    ]
    before = [share for step, share in shares if step <= low[0]]
    last = [share for _, share in shares][-1:]
    return bool(last) and last[0] < LEARNED and (not before or before[-1] < LEARNED)
