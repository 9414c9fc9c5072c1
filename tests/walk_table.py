"""Tables of the walk (tests/walk.py): commands that it shortens or leaves out, how recipes are used, mistakes that it
makes, and what it does with an installed project."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Change:
    """How a command of a page differs in the walk."""

    reason: str
    instead: str = ""
    """What is run in its place; empty where `until` stops the command itself, or nothing is run."""
    until: str = ""
    """A pattern of files: the command is stopped as by Ctrl-C once there is one."""

    @property
    def left_out(self) -> bool:
        """Whether nothing is run."""
        return not (self.instead or self.until)


DAYS = "takes days"
LONG = "takes more than a few minutes"
CLUSTER = "needs a SLURM cluster"
LEASE = "needs what a lease of a GPU has brought home"
ONE = "--tasks mpe/cooperative_navigation_3 --algorithms iql --seeds 0"
"""One run of the suite `quick`."""
JUNGLE = "--tasks magent/jungle_6 --algorithms ip --seeds 0 --episodes 2"
"""One run of the suite `smoke`."""

CHANGES = {
    "make test": Change("the whole suite of tests, of which this walk is one"),
    "python -m benchmark.train --task mpe/cooperative_navigation_15 --algorithm ip --seed 0": Change(
        DAYS, until="results/**/cooperative_navigation_15/ip/default/seed_0/metrics.jsonl"
    ),
    "python -m benchmark.sweep --suite all": Change(DAYS, until="results/raw/**/config.json"),
    "python -m envs.traffic.data fetch": Change("fetches maps from the network"),
    "python -m benchmark.sweep --suite all --tasks cityflow/hangzhou_16 cityflow/manhattan_96 "
    "cityflow/synthetic_{49,100,225,1225}": Change(
        "takes days, and needs maps that have to be fetched",
        instead="python -m benchmark.sweep --suite all --tasks cityflow/synthetic_{49,100} --algorithms iql",
        until="results/raw/cityflow/**/config.json",
    ),
    "python -m benchmark.train --task mpe/cooperative_navigation_15 --algorithm ip --seed 0 "
    "--set algorithm.alpha=0.1": Change(
        DAYS, until="results/**/cooperative_navigation_15/ip/alpha=0.1/seed_0/metrics.jsonl"
    ),
    "python -m benchmark.train --task mpe/cooperative_navigation_15 --algorithm iql --total-steps 20000 "
    "--keep-checkpoint": Change(
        LONG,
        instead="python -m benchmark.train --task mpe/cooperative_navigation_15 --algorithm iql --total-steps 2000 "
        "--keep-checkpoint",
    ),
    "python -m benchmark.sweep --suite quick --workers 2": Change(
        LONG, instead=f"python -m benchmark.sweep --suite quick --workers 2 {ONE}"
    ),
    "python -m benchmark.sweep --suite quick --workers 2 --set algorithm.hidden=64": Change(
        LONG, instead=f"python -m benchmark.sweep --suite quick --workers 2 --set algorithm.hidden=64 {ONE}"
    ),
    "python -m benchmark.sweep status --suite all --watch": Change(
        "watches until it is stopped", instead="python -m benchmark.sweep status --suite all"
    ),
    "python -m benchmark.sweep retry --suite quick": Change(
        "the suite was shortened", instead=f"python -m benchmark.sweep retry --suite quick {ONE}"
    ),
    "python -m benchmark.sweep collect --suite quick": Change(
        "the suite was shortened", instead=f"python -m benchmark.sweep collect --suite quick {ONE}"
    ),
    "python -m benchmark.sweep --suite my_suite.toml --workers 2": Change(
        LONG,
        instead="python -m benchmark.sweep --suite my_suite.toml --workers 2 --algorithms iql --seeds 0 "
        "--set training.evaluation_episodes=20",
    ),
    "python -m benchmark.profiling.cost --agents 15 30 100 --output cost.md": Change(
        LONG, instead="python -m benchmark.profiling.cost --agents 15 --algorithms iql qmix --output cost.md"
    ),
    "python -m benchmark.train --import my_tasks --task mpe/wide_navigation_10 --algorithm ip "
    "--total-steps 20000": Change(
        LONG,
        instead="python -m benchmark.train --import my_tasks --task mpe/wide_navigation_10 --algorithm ip "
        "--total-steps 1200",
    ),
    "python -m benchmark.train --task my_city --algorithm ip --total-steps 20000": Change(
        LONG, instead="python -m benchmark.train --task my_city --algorithm ip --total-steps 1200"
    ),
    "python -m benchmark.sweep --suite signals --tasks my_city": Change(
        LONG, instead="python -m benchmark.sweep --suite signals --tasks my_city --algorithms iql --seeds 0"
    ),
    "python -m benchmark.profiling.cost --tasks my_city": Change(
        LONG, instead="python -m benchmark.profiling.cost --tasks my_city --algorithms iql ip"
    ),
    "python -m benchmark.train --task pettingzoo:mpe2.simple_spread_v3:parallel_env --algorithm ip --total-steps 15000 "
    "--set environment.N=3 --set environment.graph=nearest --set environment.columns=2:4": Change(
        LONG,
        instead="python -m benchmark.train --task pettingzoo:mpe2.simple_spread_v3:parallel_env --algorithm ip "
        "--total-steps 1200 --set environment.N=3 --set environment.graph=nearest --set environment.columns=2:4",
    ),
    "python -m benchmark.train --task pettingzoo:mpe2.simple_spread_v3:parallel_env --algorithm iql $common "
    "--total-steps 60000 --set training.evaluation_episodes=100 "
    "--set environment.N=3 --set environment.graph=nearest --set environment.columns=2:4": Change(
        LONG,
        instead="python -m benchmark.train --task pettingzoo:mpe2.simple_spread_v3:parallel_env --algorithm iql "
        "$common --set environment.N=3 --set environment.graph=nearest --set environment.columns=2:4 "
        "--total-steps 1200",
    ),
    "python -m benchmark.train --task pettingzoo:pettingzoo.sisl.pursuit_v5:parallel_env --algorithm iql $common "
    "--total-steps 15000 --set training.evaluation_episodes=20 "
    "--set environment.max_cycles=50 --set environment.x_size=8 --set environment.y_size=8 "
    "--set environment.n_evaders=4 --set environment.n_pursuers=4 --set environment.n_catch=1 "
    "--set environment.surround=false": Change(
        LONG,
        instead="python -m benchmark.train --task pettingzoo:pettingzoo.sisl.pursuit_v5:parallel_env --algorithm iql "
        "$common --set environment.max_cycles=50 --set environment.x_size=8 --set environment.y_size=8 "
        "--set environment.n_evaders=4 --set environment.n_pursuers=4 --set environment.n_catch=1 "
        "--set environment.surround=false --total-steps 1200",
    ),
    "python -m benchmark.transfer --results results/smoke": Change(
        LONG, instead=f"python -m benchmark.transfer --results results/smoke {JUNGLE}"
    ),
    "python -m benchmark.transfer --results results/smoke --messages": Change(
        LONG,
        instead=f"python -m benchmark.transfer --results results/smoke --messages {JUNGLE}",
    ),
    "python -m results.publish --packs PACK --output results/published/paper --suite all --compact": Change(LEASE),
    "python -m benchmark.together --suite all --tasks mpe/cooperative_navigation_15 --algorithms iql "
    "--device cuda": Change("needs a GPU"),
    "python -m benchmark.sweep --suite all --launcher slurm --profile gpu": Change(CLUSTER),
    "python -m benchmark.sweep submit --suite all --profile gpu": Change(CLUSTER),
    "python -m benchmark.sweep retry --suite all --launcher slurm --profile gpu": Change(CLUSTER),
    "python -m benchmark.sweep cancel --suite all --tasks cityflow/synthetic_1225": Change(CLUSTER),
    "python -m benchmark.sweep collect --suite all --compact --output results/published/paper": Change(
        "needs all runs of the paper, which take days"
    ),
    "sudo slurm/dev_cluster.sh start": Change("installs and starts SLURM, as root"),
    "python -m benchmark.sweep --suite smoke --launcher slurm --profile dev": Change(CLUSTER),
    "sudo slurm/dev_cluster.sh stop": Change("stops SLURM, as root"),
    "python -m benchmark.sweep --suite quick --results results/quick": Change(
        LONG, instead=f"python -m benchmark.sweep --suite quick --results results/quick {ONE}"
    ),
    "python -m benchmark.sweep collect --suite quick --compact --output results/published/quick": Change(
        "the suite was shortened",
        instead=f"python -m benchmark.sweep collect --suite quick --compact --output my_quick {ONE}",
    ),
    "BENCHMARK_COMMIT=COMMIT python3 -m benchmark.lease --output DIR --seconds 540": Change("needs a GPU"),
    "python -m results.publish --packs DIR --output results/published/paper --suite all --compact": Change(LEASE),
}
"""By the text of the command in its page."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a recipe is used: its file, and a command."""

    file: str
    command: str = ""
    """Empty where commands of the page use the file."""
    needs: dict[str, str] = field(default_factory=dict)
    """Files that the page takes as given, and their text."""


RECIPES = {
    "algorithms/vdn.py": Recipe(
        "my_vdn.py",
        "python -m benchmark.train --import my_algorithms --task game/two_step_2 --algorithm sum --total-steps 2000",
        {"my_algorithms.py": 'import algorithms\n\nalgorithms.ALGORITHMS["sum"] = ("my_vdn", "VDN")\n'},
    ),
    "from Python": Recipe("my_runs.py", "python my_runs.py"),
    "my_suite.toml": Recipe("my_suite.toml"),
    "a particle task": Recipe("my_tasks.py"),
    "your city": Recipe("my_table.py", "python my_table.py"),
    "the engine": Recipe("my_city/my_engine.py", "cd my_city && python my_engine.py"),
    "your environment": Recipe(
        "my_training.py",
        "python my_training.py",
        {
            "my_world.py": "from tests.envs.line_world import LineWorld\n\n\n"
            "def make(agents=2):\n    return LineWorld(agents)\n"
        },
    ),
    "a policy": Recipe("my_policy_plays.py", "python my_policy_plays.py"),
    "a figure": Recipe(
        "my_figure.py",
        "python my_drawing.py",
        {
            "my_drawing.py": "import sys\n\nimport my_figure\nfrom figures.__main__ import main\n\n"
            'sys.exit(main(["--only", "spread", "--output", "my_figures"]))\n'
        },
    ),
    "results": Recipe("my_frames.py", "python my_frames.py"),
}
"""By name; every recipe of every page has a row."""

MISTAKES = {
    "python -m benchmark.train --task mpe/cooperative_navigatoin_15 --algorithm ip": "did you mean",
    "python -m benchmark.train --task game/echo_8 --algorithm ipp": "did you mean ip?",
    "python -m benchmark.train --task game/echo_8 --algorithm ip --set algorithm.hiden=3": "did you mean",
    "python -m benchmark.train --task game/echo_8 --algorithm ip --set algorithm.hidden=-1": "expected a positive",
    "python -m benchmark.train --task nowhere/config.json --algorithm ip": "expected a CityFlow configuration",
    "python -m benchmark.train --task pettingzoo:nothing:make --algorithm ip": "install its package",
    "python -m benchmark.sweep --suite quik": "did you mean quick?",
    "python -m benchmark.evaluate results/none": "expected policy.pt",
    "python -m benchmark.play cityflow/hangzhou_16 --policy random --gif out.gif": "python -m envs.traffic.data fetch",
    "python -m figures --results nowhere": "expected run folders",
    "python -m figures --only figure_9": "no such figure or table",
}
"""Commands, and what their one line of error says."""

INSTALLED = (
    "benchmark-train --task game/two_step_2 --algorithm iql --total-steps 2000 --results runs",
    "benchmark-sweep --suite smoke --tasks magent/jungle_6 --algorithms ip --seeds 0 --results results",
    "benchmark-record --results results",
    "benchmark-evaluate results/magent/jungle_6/ip/smoke/seed_0 --agents 12 --episodes 2",
    "benchmark-export results/magent/jungle_6/ip/smoke/seed_0 --output my_policy",
    "benchmark-transfer --results results --episodes 1",
    "benchmark-play cityflow/synthetic_4 --policy max_pressure --gif traffic.gif",
    "benchmark-figures --results results --output drawn",
    "benchmark-figures --only figure_7 --output published",
)
"""Commands of an installed project, from a folder that has `results`, `envs` and `figures` of its own."""
