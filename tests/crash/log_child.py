"""A process that recovers a log, tells what is in it, and writes on until it is killed.

    python -m tests.crash.log_child DIRECTORY LIFE CHECKPOINT_INDEX SEED

Prints `entry INDEX LIFE` for what it recovered, `ready`, then `acked INDEX` when entries are synced
and `cut INDEX` before it lets go of segments.
"""

import select
import sys
from random import Random

from kvnode._core.logwriter import LogWriter
from kvnode.storage.disk import OsDisk
from kvnode.storage.log_recovery import open_replay, recover_log

SEGMENT_BYTES = 64 * 1024
PAYLOAD_BYTES = [10, 10, 200, 3000, 20_000, 90_000]  # padding, to choose from


def main(directory: str, life: int, checkpoint_index: int, seed: int) -> None:
    """Recover, then write until killed."""
    random, disk = Random(seed), OsDisk()
    id_seed = random.getrandbits(64)
    log = recover_log(
        disk,
        directory,
        checkpoint_index=checkpoint_index,
        segment_bytes=SEGMENT_BYTES,
        id_seed=id_seed,
    )
    for _, index, _, payload in open_replay(disk, directory, log, log.first_index, log.last_index):
        say(f"entry {index} {payload.split(b':')[0].decode()}")
    say("ready")
    writer = LogWriter(
        directory, log.start, segment_bytes=SEGMENT_BYTES, id_seed=id_seed, mark_delay_ms=5
    )
    submitted = synced = log.last_index
    while True:
        for _ in range(random.choice([0, 1, 1, 5, 30])):
            submitted += 1
            payload = b"%d:" % life + b"x" * random.randrange(random.choice(PAYLOAD_BYTES))
            entry = (life, submitted, submitted, payload)
            if synced != submitted - 1 or not writer.append_inline(*entry):
                writer.append(*entry)
        select.select([writer.event_fd], [], [], random.choice([0.001, 0.02]))
        _, _, _, synced_now, error = writer.position()
        assert error == 0
        if synced_now > synced:
            synced = synced_now
            say(f"acked {synced}")
        if random.random() < 0.02:
            index = random.randint(checkpoint_index, synced)
            checkpoint_index = index
            say(f"cut {index}")
            writer.cut(index)


def say(line: str) -> None:
    """Print a line that survives the process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
