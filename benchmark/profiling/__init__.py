"""What training costs.

cost, update_cost, measure   time and memory of gradient steps, measured
counting, device_model       FLOPs and bytes, counted, and the time that they take on a GPU by a model of it
gpu_timings, timing          what was measured on GPUs, and how long a run takes here, from a few of its steps
synthetic                    tasks and batches made up for all that
"""
