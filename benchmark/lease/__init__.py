"""A few minutes on a GPU: versions, tests, timings, then as many runs of the paper as finish within the time limit.

    python -m benchmark.lease --output DIR --seconds 540
    python -m benchmark.lease --output DIR --seconds 90 --rehearse          a small-scale rehearsal on the CPU

On a machine with a GPU for a limited time: copy the working tree without .git, run the command below there, with
COMMIT the output of `git rev-parse HEAD` in the original checkout, and copy DIR back:

    BENCHMARK_COMMIT=COMMIT python3 -m benchmark.lease --output DIR --seconds 540

`python -m results.publish --packs DIR --output results/published/paper --suite all` adds the results to the
published set. Runs that are published, or contained in the packs of earlier leases (`--earlier`), are not repeated, so
that successive leases accumulate. Only finished runs count: a run that is cut off is lost. A failure does not stop the
lease: every phase has a time limit and works in separate processes. At the end, or on SIGTERM, the results so far are
packed (`benchmark.lease.pack`).
"""
