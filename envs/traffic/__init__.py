"""City traffic: an engine that reads CityFlow's files and reproduces its results, with signal control tasks on top."""

from pathlib import Path

from envs.numba_cache import delete_stale
from envs.traffic.cityflow.archive import Archive
from envs.traffic.cityflow.interface import Engine
from envs.traffic.engine.batch import BatchEngine
from envs.traffic.engine.simulation import Simulation
from envs.traffic.network import Network, build_network, load_network
from envs.traffic.network.routes import Flows, build_flows

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

delete_stale(__name__, Path(__file__).parent)
