"""Road networks and routes: geometry of lanes and crossings, the arrays that kernels read, shortest paths.

`layout` defines the arrays, `geometry` computes lanes, links and crosses, `network` builds a `Network` from a file,
`map` converts it to the form that a step reads, and `routes` expands flows into routes.
"""

from envs.traffic.network.network import Network, build_network, load_network
from envs.traffic.network.routes import Flows, build_flows

__all__ = ["Flows", "Network", "build_flows", "build_network", "load_network"]
