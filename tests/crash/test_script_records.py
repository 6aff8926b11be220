"""Scripts and functions are data: what was acknowledged of them survives kill -9 and power loss.

One connection changes them, alone and in MULTI, so after a crash the node must have what some
prefix of its commands left behind, a prefix with all that was acknowledged. Scripts that write, on
the sequencer or beside it, leave all that they write or nothing.
"""

import hashlib
import os
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random

import pytest

from tests.support.powerloss import lose_power
from tests.support.process import is_kvnode_complete
from tests.support.resp import Connection, encode
from tests.support.servers import KvnodeServer, ServerDied

ROUNDS = int(os.environ.get("KVNODE_CRASH_ROUNDS", "6"))
PLANTED_ROUNDS_MAX = 40  # within so many a planted bug must be found; one or two do as a rule
SEED = int(os.environ.get("KVNODE_CRASH_SEED", "1"))
NAMES = 4  # libraries; scripts of one round
OPERATIONS = 60  # of a round
KEYS = [f"part:{i}" for i in range(20)]
SPIN = "for i = 1, 1500000 do end "  # past what a script may take on the sequencer
WRITES = "for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1]) end return 'done'"

pytestmark = pytest.mark.skipif(not is_kvnode_complete(), reason="there is no node yet")


@dataclass(frozen=True)
class State:
    """What a node may know. scripts: texts. libraries: name -> code. parts: value of all KEYS."""

    scripts: frozenset[str] = frozenset()
    libraries: dict[str, str] = field(default_factory=dict)
    parts: bytes | None = None


def library(name: str, version: int) -> str:
    return f"#!lua name={name}\nredis.register_function('{name}', function() return {version} end)"


class Work:
    """Changes drawn by chance, and the state after each."""

    def __init__(self, random: Random, known: list[str]) -> None:
        self.random = random
        self.known = known  # texts ever loaded
        self._version = 0

    def draw(self, state: State) -> tuple[list[tuple], State]:
        """Return the commands of one operation, and what it makes of a state."""
        self._version += 1
        choice = self.random.choice(
            (self._load, self._load_library, self._delete, self._run, self._run_long)
            if self.random.random() < 0.9
            else (self._flush_scripts, self._flush_libraries)
        )
        commands, after = choice(state)
        if self.random.random() < 0.3:  # two changes, together or not at all
            others, after = self._load_library(after)
            commands = [("MULTI",), *commands, *others, ("EXEC",)]
        return commands, after

    def _load(self, state: State) -> tuple[list[tuple], State]:
        text = f"return {self.random.randrange(NAMES)} -- {self._version}"
        self.known.append(text)
        return [("SCRIPT", "LOAD", text)], replace(state, scripts=state.scripts | {text})

    def _load_library(self, state: State) -> tuple[list[tuple], State]:
        name = f"lib{self.random.randrange(NAMES)}"
        code = library(name, self._version)
        after = replace(state, libraries={**state.libraries, name: code})
        return [("FUNCTION", "LOAD", "REPLACE", code)], after

    def _delete(self, state: State) -> tuple[list[tuple], State]:
        if not state.libraries:
            return self._load_library(state)
        name = self.random.choice(sorted(state.libraries))
        left = {other: code for other, code in state.libraries.items() if other != name}
        return [("FUNCTION", "DELETE", name)], replace(state, libraries=left)

    def _run(self, state: State, spin: str = "") -> tuple[list[tuple], State]:
        text, value = spin + WRITES, str(self._version)
        if text not in self.known:
            self.known.append(text)
        return [("EVAL", text, len(KEYS), *KEYS, value)], replace(
            state, scripts=state.scripts | {text}, parts=value.encode()
        )

    def _run_long(self, state: State) -> tuple[list[tuple], State]:
        return self._run(state, SPIN)

    def _flush_scripts(self, state: State) -> tuple[list[tuple], State]:
        return [("SCRIPT", "FLUSH")], replace(state, scripts=frozenset())

    def _flush_libraries(self, state: State) -> tuple[list[tuple], State]:
        return [("FUNCTION", "FLUSH")], replace(state, libraries={})


def read_state(connection: Connection, known: list[str]) -> State:
    """Ask a node for all of it, and call each function."""
    hashes = [hashlib.sha1(text.encode()).hexdigest() for text in known]
    exists = connection.call("SCRIPT", "EXISTS", *hashes) if known else []
    libraries = {}
    for found in connection.call("FUNCTION", "LIST", "WITHCODE"):
        name, code = found[1].decode(), found[-1].decode()
        libraries[name] = code
        assert connection.call("FCALL", name, "0") == int(code.split()[-2])
    parts = set(connection.call("MGET", *KEYS))
    assert len(parts) == 1, f"a script was done by half: {parts}"
    scripts = frozenset(text for text, is_there in zip(known, exists, strict=True) if is_there)
    return State(scripts, libraries, parts.pop())


def live(server: KvnodeServer, work: Work, state: State) -> list[State]:
    """Change until the server dies; return the states that it may have then, oldest first."""
    connection = server.connect()
    random, states, acknowledged, sent = work.random, [state], 0, []
    dies_at = random.randrange(OPERATIONS)
    try:
        for number in range(OPERATIONS):
            commands, after = work.draw(states[-1])
            states.append(after)
            sent.append(len(commands))
            connection.send(b"".join(encode(*words) for words in commands))
            if number == dies_at:
                server.kill()
            while len(sent) - acknowledged > random.choice((0, 0, 4)):
                for _ in range(sent[acknowledged]):
                    connection.receive()
                acknowledged += 1
    except OSError:
        pass
    server.kill()
    server.close_connections()
    possible = [states[acknowledged]]
    for before, after in pairwise(states[acknowledged:]):
        # EVAL caches its text first; what the script does, perhaps beside the sequencer, follows.
        possible += [replace(before, scripts=after.scripts), after]
    return possible


def run(disk, rounds: int, plant: str | None = None) -> None:
    random = Random(SEED)
    work, state = Work(random, []), State()
    server = KvnodeServer(disk.path, "--appendfsync", "always")
    possible = [state]
    try:
        for number in range(rounds + 1):
            sync_us = random.choice((0, 300, 3000))
            server.environment = disk.environment(sync_us=sync_us, plant=plant)
            server.start()
            server.wait_ready()
            state = read_state(server.connect(), work.known)
            assert state in possible, f"round {number}: {state} is none of {possible}"
            possible = live(server, work, state)
            if random.random() < 0.8:
                lose_power(disk, random)
    finally:
        server.kill()
        server.close_connections()


def test_scripts_and_functions_survive(disk):
    run(disk, ROUNDS)


def test_syncs_that_come_too_late_are_found(disk):
    """Something is missing, or so much of LevelDB that the node refuses to start."""
    with pytest.raises((AssertionError, ServerDied)):
        run(disk, PLANTED_ROUNDS_MAX, "ignore_fdatasync")
