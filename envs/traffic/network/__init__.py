"""Road networks and who drives where: geometry of lanes and crossings, the arrays that kernels read, shortest paths.

`layout` names the arrays, `geometry` computes lanes, links and crosses, `network` builds a `Network` of a file, `map`
gives it the form that a step reads, `routes` turns flows into roads to drive along.
"""

from envs.traffic.network.network import Network, build_network, load_network
from envs.traffic.network.routes import Flows, build_flows

__all__ = ["Flows", "Network", "build_flows", "build_network", "load_network"]
