"""MAgent's Jungle: agents that may eat from food or hit one another, on a grid.

rules.py says what the task is; placement.py draws where units start; kernels.py (numba), tensors.py (torch) and
original.py (magent2) are three engines of the same rules; environment.py puts one of them behind the common interface;
reference_policies.py has the reference policies, drawing.py the pictures, verify.py the comparison with magent2.
"""
