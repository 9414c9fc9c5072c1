"""The cost of training.

cost, update_cost, measure   time and memory of gradient steps, measured
counting, device_model       FLOPs and bytes, counted, and the time that a model of a GPU predicts from them
gpu_timings, timing          measurements on GPUs, and the duration of a run on this machine from a few of its steps
synthetic                    synthetic tasks and batches for these measurements
"""
