"""Minutes of a GPU, used to the last second: versions, tests, timings, then runs of the paper that end in time.

    python -m benchmark.lease --output DIR --seconds 540
    python -m benchmark.lease --output DIR --seconds 90 --rehearse          all of it in little, on the CPU

For a machine that lends a GPU: copy the working tree without .git, run this there, where COMMIT is what
`git rev-parse HEAD` says here, and fetch DIR:

    BENCHMARK_COMMIT=COMMIT python3 -m benchmark.lease --output DIR --seconds 540

`python -m results.publish --packs DIR --output results/published/paper --suite all` adds it to what is published. What
is published, or lies in packs of earlier leases (`--earlier`), is not made again, so that leases add up; a finished run
is the unit, and one that does not end is lost. Nothing that fails ends the rest: every phase has a limit of time and
does its work in processes of its own. At the end, or at SIGTERM, what is there is packed (`benchmark.lease.pack`).
"""
