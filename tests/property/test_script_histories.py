"""Histories of long and short scripts side by side are strictly serializable.

Scripts append to lists and read them, on several sessions of a simulated node whose passes, syncs
and threads go on in an order drawn by chance.
"""

import random

import pytest

from tests.reference.list_append import APPEND, READ, Transaction, faults
from tests.sim.node import SimNode, new_node
from tests.support.resp import decode_all, encode

KEYS = ("x", "y", "z")
SESSIONS = 4
SCRIPTS = 24
STEPS_MAX = 20_000
# Arguments: the number, how often to turn, then kind and key of each operation.
TEXT = """
local seen = {}
for i = 3, #ARGV, 2 do
  if ARGV[i] == 'r' then
    seen[#seen + 1] = redis.call('lrange', ARGV[i + 1], 0, -1)
  else
    redis.call('rpush', ARGV[i + 1], ARGV[1])
  end
  for turn = 1, ARGV[2] do end
end
return seen
"""
LONG_TURNS = 50_000


def run(seed: int) -> tuple[list[Transaction], dict[str, list[int]], SimNode]:
    """Run scripts on a node; return the history, the lists in the end, and the node."""
    rng = random.Random(seed)
    node = new_node(seed)
    node.view.scripts.here.set_budget(0, grant=1000, grants=20)
    running: dict[object, Transaction] = {}
    sessions = [node.session() for _ in range(SESSIONS)]
    history: list[Transaction] = []
    for moment in range(STEPS_MAX):
        if len(history) == SCRIPTS and not running:
            break
        idle = [session for session in sessions if session not in running]
        action = rng.randrange(4)
        if action == 0 and idle and len(history) < SCRIPTS:
            session = rng.choice(idle)
            operations = [
                (rng.choice((READ, APPEND)), key)
                for key in rng.sample(KEYS, rng.randint(1, len(KEYS)))
            ]
            running[session] = Transaction(len(history) + 1, operations, moment)
            history.append(running[session])
            turns = LONG_TURNS if rng.random() < 0.4 else 0
            words = [word for operation in operations for word in operation]
            session.feed(encode("EVAL", TEXT, "0", len(history), turns, *words))
            node.serve(session)
        elif action == 1:
            node.serve()
        elif action == 2:
            node.sync(1)
        else:
            node.step_threads(1)
        for session in list(running):
            if reply := session.take():
                (seen,) = decode_all(reply)
                done = running.pop(session)
                done.ended = moment
                done.results = [[int(number) for number in numbers] for numbers in seen]
    assert not running, "a script never ends"
    reader = node.session()
    final = {
        key: [
            int(number)
            for number in decode_all(node.settle(reader, encode("LRANGE", key, 0, -1)))[0]
        ]
        for key in KEYS
    }
    node.check()
    return history, final, node


@pytest.mark.parametrize("seed", range(12))
def test_scripts_are_serializable(seed: int) -> None:
    history, final, _ = run(seed)
    assert faults(history, final) == []


def test_long_and_short_ones_meet() -> None:
    """The histories are worth something: scripts ran beside the sequencer, and some met changes."""
    conflicts = committed = 0
    for seed in range(4):
        transactions = run(seed)[2].jobs.transactions
        conflicts += transactions.conflicts
        committed += transactions.committed
    assert committed > 10
    assert conflicts > 0


def transaction(number: int, began: int, ended: int, *operations, results=()) -> Transaction:
    return Transaction(number, operations, began, ended, [list(seen) for seen in results])


PLANTED = {
    "write skew": (
        [
            transaction(1, 0, 9, (READ, "y"), (APPEND, "x"), results=[[]]),
            transaction(2, 0, 9, (READ, "x"), (APPEND, "y"), results=[[]]),
        ],
        {"x": [1], "y": [2]},
        "depend on each other",
    ),
    "stale read": (
        [
            transaction(1, 0, 1, (APPEND, "x")),
            transaction(2, 2, 3, (READ, "x"), results=[[]]),
        ],
        {"x": [1]},
        "depend on each other",
    ),
    "lost append": ([transaction(1, 0, 1, (APPEND, "x"))], {"x": []}, "is lost"),
    "double append": ([transaction(1, 0, 1, (APPEND, "x"))], {"x": [1, 1]}, "twice"),
    "dirty read": (
        [
            transaction(1, 0, 1, (APPEND, "x")),
            transaction(2, 0, 1, (READ, "x"), results=[[7]]),
        ],
        {"x": [1]},
        "which became",
    ),
    "half of a script": (
        [
            transaction(1, 0, 9, (APPEND, "x"), (APPEND, "y")),
            transaction(2, 0, 9, (READ, "x"), (READ, "y"), results=[[1], []]),
        ],
        {"x": [1], "y": [1]},
        "depend on each other",
    ),
    "own append unseen": (
        [transaction(1, 0, 1, (APPEND, "x"), (READ, "x"), results=[[]])],
        {"x": [1]},
        "its own append",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str) -> None:
    history, final, text = PLANTED[name]
    assert any(text in fault for fault in faults(history, final))
