"""Runs seeds of simulated groups of whole nodes: python -m tests.sim --seed 7, or --seeds 1000."""

import argparse
import sys
import time
import traceback
from multiprocessing import Pool

from tests.sim.group.cluster import Cluster

SEEDS_PER_PROCESS = 200


def run(seed: int) -> tuple[int, str, dict[str, int]]:
    """Run a seed; return it with what went wrong, and what has happened."""
    cluster = Cluster(seed)
    failure = ""
    try:
        cluster.run()
    except Exception as error:
        failure = "".join(traceback.format_exception(error, limit=-4))
    return seed, failure, cluster.counts()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seed", type=int, help="one seed, to repeat a failure")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        cluster = Cluster(options.seed)
        cluster.run()
        print(cluster.counts())
        return 0
    failed = 0
    totals: dict[str, int] = {}
    begun = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    # A node that dies holds clients by counted references, in cycles that are never collected.
    with Pool(options.processes, maxtasksperchild=SEEDS_PER_PROCESS) as pool:
        for count, (seed, failure, counts) in enumerate(pool.imap(run, seeds), 1):
            if failure:
                failed += 1
                print(f"{failure}repeat: python -m tests.sim --seed {seed}\n", flush=True)
            for name, number in counts.items():
                totals[name] = totals.get(name, 0) + number
            if count % 100 == 0 or count == options.seeds:
                seconds = time.monotonic() - begun
                print(f"{count} seeds, {failed} failed, {seconds:.0f} s, {totals}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
