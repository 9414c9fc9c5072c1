"""The particle environments of the paper: cooperative and heterogeneous navigation, push, prey and predator.

scenarios.py says what each task is; physics.py, observation.py, graph.py and reward.py say what happens in one step;
initial.py draws the start, prey.py moves the scripted prey, environment.py puts them together.
"""
