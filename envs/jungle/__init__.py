"""MAgent's Jungle: agents on a grid that may eat food or attack one another.

rules.py defines the task; placement.py draws initial cells; kernels.py (numba), tensors.py (torch) and original.py
(magent2) are three engines with the same rules; environment.py puts one of them behind the common interface;
reference_policies.py has the reference policies, drawing.py the drawings, verify.py the comparison with magent2.
"""
