"""The simulator: its state, the compiled step, single simulations and batches of them.

`state` defines the arrays that change; `pointer` and `handles` give compiled code access to them; `basics`, `queues`,
`arrivals`, `driving`, `lane_change` and `step` form the compiled step; `simulation` runs it, `team` with several
threads, and `batch` runs many copies; `locality` sorts vehicles in memory; `inspection` and `movements` read the state;
`checkpoint` saves it.
"""
