"""Matrix and toy games: small cooperative games with a known optimum, batched like every other task.

games.py defines each game as pure functions of the state that the agents observe; optimum.py finds the best joint
action on a chain or ring; environment.py combines them.
"""
