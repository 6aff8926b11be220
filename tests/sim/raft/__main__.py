"""Runs seeds of simulated Raft clusters: python -m tests.sim.raft --seed 7, or --seeds 1000."""

import argparse
import sys
import time
import traceback

from tests.sim.raft.cluster import Cluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.raft")
    parser.add_argument("--seed", type=int, help="one seed, to repeat a failure")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    options = parser.parse_args()
    if options.seed is not None:
        Cluster(options.seed).run()
        return 0
    failed, entries, terms = 0, 0, 0
    for count in range(1, options.seeds + 1):
        seed = options.first + count - 1
        cluster = Cluster(seed)
        try:
            cluster.run()
        except Exception:
            failed += 1
            traceback.print_exc(limit=-3)
            print(f"repeat: python -m tests.sim.raft --seed {seed}")
        entries += cluster.checks.committed_index
        terms += len(cluster.checks.leaders)
        if count % 100 == 0 or count == options.seeds:
            print(
                f"{count} seeds, {failed} failed, {entries} entries committed by {terms} leaders, "
                f"{time.process_time():.0f} s of CPU",
                flush=True,
            )
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
