"""The simulator: the state, one step of it compiled, one simulation and many of them.

`state` has the arrays that change; `pointer` and `handles` let compiled code get at them; `basics`, `arrivals`,
`driving`, `lane_change` and `step` are the compiled step; `simulation` runs it, `batch` runs many copies; `inspection`
and `movements` read the state, `checkpoint` saves it.
"""
