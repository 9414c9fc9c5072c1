"""City traffic: an engine that reads CityFlow's files and gives its numbers, and signal control tasks on top of it."""

from pathlib import Path

from envs.numba_cache import forget_stale
from envs.traffic.archive import Archive
from envs.traffic.batch import BatchEngine
from envs.traffic.engine import Engine
from envs.traffic.network import Network, build_network, load_network
from envs.traffic.routes import Flows, build_flows
from envs.traffic.simulation import Simulation

__all__ = [
    "Archive",
    "BatchEngine",
    "Engine",
    "Flows",
    "Network",
    "Simulation",
    "build_flows",
    "build_network",
    "load_network",
]

forget_stale(__name__, Path(__file__).parent)
