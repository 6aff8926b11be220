"""The scripts that the ratio table runs."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Script:
    """A text, and the command that runs it."""

    text: str

    @property
    def sha(self) -> str:
        return hashlib.sha1(self.text.encode()).hexdigest()

    def command(self, *keys: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the words of its EVALSHA."""
        return ("EVALSHA", self.sha, str(len(keys)), *keys, *arguments)


READ = Script("return redis.call('GET', KEYS[1])")
COUNT = Script("return redis.call('INCR', KEYS[1])")

# So many requests of a client in a window: three calls, of which the last says when it ends.
LIMIT = Script("""
local count = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], 60000, 'NX')
local left = redis.call('PTTL', KEYS[1])
if count > 100 then return {0, left} end
return {1, left}
""")

# A job as BullMQ has it, from its arrival to its end: ten calls, its options and result packed.
JOB = Script("""
local options = cmsgpack.unpack(ARGV[1])
local id = redis.call('INCR', KEYS[1])
local job = KEYS[2] .. id
redis.call('HSET', job, 'name', options.name, 'data', options.data, 'attempts', options.attempts)
if redis.call('EXISTS', KEYS[3]) == 1 then return redis.error_reply('ERR paused') end
redis.call('LPUSH', KEYS[4], id)
local taken = redis.call('LMOVE', KEYS[4], KEYS[5], 'RIGHT', 'LEFT')
local fields = redis.call('HMGET', job, 'name', 'data', 'attempts')
redis.call('LREM', KEYS[5], -1, taken)
redis.call('ZADD', KEYS[6], id, id)
redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -1001)
redis.call('DEL', job)
return cmsgpack.pack({id, fields[1], tonumber(fields[3])})
""")
JOB_OPTIONS = b"\x83\xa4name\xa5email\xa4data\xd9\x40" + b"x" * 64 + b"\xa8attempts\x03"
JOB_KEYS = ("jobs:id", "jobs:", "jobs:paused", "jobs:wait", "jobs:active", "jobs:done")

ALL = (READ, COUNT, LIMIT, JOB)


def job_command() -> tuple[str, ...]:
    """Return the command that takes one job from its arrival to its end."""
    return JOB.command(*JOB_KEYS, arguments=[os.fsdecode(JOB_OPTIONS)])
