"""The scripts of the ratio table, and the commands that run them by name."""

import hashlib
from collections.abc import Iterable

GET = "return redis.call('GET', KEYS[1])"
INCR = "return redis.call('INCR', KEYS[1])"
# So many requests a minute: three calls.
LIMIT = """
local count = redis.call('INCR', KEYS[1])
if redis.call('TTL', KEYS[1]) < 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return count <= tonumber(ARGV[2])
"""
# As the scripts of a job queue: ten calls, and a packed job.
JOB = """
local job = cmsgpack.unpack(cmsgpack.pack({name = ARGV[1], delay = 0, attempts = 3}))
local id = redis.call('INCR', KEYS[1] .. ':id')
local key = KEYS[1] .. ':' .. id % 1000
redis.call('HSET', key, 'name', job.name, 'attempts', job.attempts, 'delay', job.delay)
redis.call('RPUSH', KEYS[1] .. ':wait', id)
redis.call('ZADD', KEYS[1] .. ':marker', id, id % 100)
redis.call('HINCRBY', key, 'attempts', -1)
local taken = redis.call('LPOP', KEYS[1] .. ':wait')
redis.call('SADD', KEYS[1] .. ':active', taken)
redis.call('SREM', KEYS[1] .. ':active', taken)
redis.call('HGET', key, 'name')
redis.call('LLEN', KEYS[1] .. ':wait')
return id
"""
ALL = (GET, INCR, LIMIT, JOB)


def by_name(text: str, *keys: str, arguments: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the command that runs a cached script."""
    name = hashlib.sha1(text.encode()).hexdigest()
    return ("EVALSHA", name, str(len(keys)), *keys, *arguments)
