"""The proving ground: small cooperative games whose optimum is known, batched like every other task.

games.py says what each game is, as pure functions of what the agents see; optimum.py finds the best joint action along
a chain or ring; draws.py gives every episode its own random numbers; environment.py puts them together.
"""
