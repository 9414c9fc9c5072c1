"""Matrix and toy games: small cooperative games whose optimum is known, batched like every other task.

games.py says what each game is, as pure functions of what the agents see; optimum.py finds the best joint action along
a chain or ring; environment.py puts them together.
"""
