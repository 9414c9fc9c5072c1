"""City traffic: an engine that reads CityFlow's files and gives its numbers, and signal control tasks on top of it."""

from envs.traffic.engine import Engine, Simulation
from envs.traffic.network import Network, build_network, load_network
from envs.traffic.routes import Flows, build_flows

__all__ = ["Engine", "Flows", "Network", "Simulation", "build_flows", "build_network", "load_network"]
