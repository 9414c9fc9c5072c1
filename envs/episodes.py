"""The numbering of episodes, the same for all environments: copies take the episodes 0, 1, ... of a seed in turn."""

from __future__ import annotations

from dataclasses import dataclass

from envs.checks import require_seed


@dataclass(slots=True)
class EpisodeCounter:
    """The seed of an environment and the number of its next episode."""

    seed: int = 0
    next_episode: int = 0

    def take(self, count: int, seed: int | None = None) -> range:
        """The next `count` episodes or, given a seed, its first ones. Raises ValueError for a seed out of range."""
        if seed is not None:
            require_seed(seed)
            self.seed, self.next_episode = seed, 0
        episodes = range(self.next_episode, self.next_episode + count)
        self.next_episode = episodes.stop
        return episodes
