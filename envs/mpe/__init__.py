"""The particle environments of the paper: cooperative and heterogeneous navigation, push, prey and predator.

scenarios.py defines the tasks; physics.py, observation.py, graph.py and reward.py compute one step; initial.py draws
initial states, prey.py moves the scripted prey, and environment.py combines them.
"""
