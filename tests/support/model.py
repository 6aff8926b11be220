"""A plain model of values, deadlines, databases and transactions; its clock is given.

It is slow and obvious: one dict for each database, one function for each command. It knows no
bytes on the wire, no encodings and no log; `Model.call` takes arguments and returns what a client
would read, as `tests.support.resp` parses it. Each type of collection has a module of its own.
"""

from collections.abc import Callable

from tests.support import model_hash, model_list, model_set
from tests.support.model_keyspace import DATABASES_COUNT, KEEP, Client
from tests.support.model_parsing import (
    LLONG_MAX,
    LLONG_MIN,
    CommandFailure,
    ExpireFlags,
    glob_expression,
    parse_database,
    parse_expire_flags,
    parse_getex_options,
    parse_integer,
    parse_set_options,
    to_deadline_ms,
    unknown_command,
)
from tests.support.model_types import TypedKeyspace
from tests.support.model_zset import ZSET_COMMANDS
from tests.support.resp import ErrorReply, Reply, Status

STRING_BYTES_MAX = 512 * 1024 * 1024
OK = Status(b"OK")
QUEUED = Status(b"QUEUED")
TYPES = {
    bytes: b"string",
    model_hash.Hash: b"hash",
    model_list.List: b"list",
    model_set.Set: b"set",
    dict: b"zset",
}
CONTROL = frozenset((b"multi", b"exec", b"discard", b"watch"))  # run at once inside MULTI


class Model(TypedKeyspace):
    """A server: `call` runs a command of a client."""

    def call(self, client: Client, *arguments: bytes) -> Reply:
        """Run one command of `client` and return its reply; errors are returned."""
        self.take_time()
        name = arguments[0].lower()
        try:
            function = self._command(name, arguments)
        except CommandFailure as failure:
            client.is_spoiled = client.queue is not None
            if name == b"exec":
                end_transaction(client)
                return ErrorReply(f"EXECABORT Transaction discarded because of: {failure.plain}")
            return failure.reply
        if client.queue is not None and name not in CONTROL:
            client.queue.append(arguments)
            return QUEUED
        return self.run(function, client, arguments)

    def run(self, function: "Function", client: Client, arguments: tuple[bytes, ...]) -> Reply:
        """Run one command without looking at a queue."""
        try:
            return function(self, client, *arguments[1:])
        except CommandFailure as failure:
            return failure.reply

    def _command(self, name: bytes, arguments: tuple[bytes, ...]) -> "Function":
        if name not in COMMANDS:
            raise CommandFailure(unknown_command(arguments))
        function, arity = COMMANDS[name]
        if len(arguments) != arity if arity > 0 else len(arguments) < -arity:
            raise CommandFailure(f"ERR wrong number of arguments for '{name.decode()}' command")
        return function


Function = Callable[..., Reply]


# Strings


def get(model: Model, client: Client, key: bytes) -> Reply:
    value = model.string(client, key)
    return value.data if value else None


def set_(model: Model, client: Client, key: bytes, data: bytes, *words: bytes) -> Reply:
    options = parse_set_options(words)
    deadline = options.deadline_ms(model.now_ms(), "set")
    old = get(model, client, key) if options.is_get else None
    exists = model.lookup(client, key) is not None
    if (options.is_nx and exists) or (options.is_xx and not exists):
        return old if options.is_get else None
    if options.is_keepttl:
        deadline = KEEP
    model.store(client, key, data, deadline)
    return old if options.is_get else OK


def setnx(model: Model, client: Client, key: bytes, data: bytes) -> Reply:
    if model.lookup(client, key):
        return 0
    model.store(client, key, data, None)
    return 1


def _set_for(name: str, unit_ms: int) -> Function:
    def command(model: Model, client: Client, key: bytes, duration: bytes, data: bytes) -> Reply:
        deadline = to_deadline_ms(duration, unit_ms, model.now_ms(), name)
        model.store(client, key, data, deadline)
        return OK

    return command


def getset(model: Model, client: Client, key: bytes, data: bytes) -> Reply:
    old = get(model, client, key)
    model.store(client, key, data, None)
    return old


def getdel(model: Model, client: Client, key: bytes) -> Reply:
    old = get(model, client, key)
    model.remove(client, key)
    return old


def getex(model: Model, client: Client, key: bytes, *words: bytes) -> Reply:
    options = parse_getex_options(words)
    value = model.string(client, key)
    if value is None:
        return None
    deadline = options.deadline_ms(model.now_ms(), "getex")
    if deadline is not None or (options.is_persist and value.deadline_ms is not None):
        model.set_deadline(client, key, deadline)
    return value.data


def mget(model: Model, client: Client, *keys: bytes) -> Reply:
    values = [model.lookup(client, key) for key in keys]
    return [value.data if value and isinstance(value.data, bytes) else None for value in values]


def _pairs(words: tuple[bytes, ...], name: str) -> list[tuple[bytes, bytes]]:
    if len(words) % 2:
        raise CommandFailure(f"ERR wrong number of arguments for '{name}' command")
    return list(zip(words[::2], words[1::2], strict=True))


def mset(model: Model, client: Client, *words: bytes) -> Reply:
    for key, data in _pairs(words, "mset"):
        model.store(client, key, data, None)
    return OK


def msetnx(model: Model, client: Client, *words: bytes) -> Reply:
    pairs = _pairs(words, "msetnx")
    if any(model.lookup(client, key) for key, _ in pairs):
        return 0
    mset(model, client, *words)
    return 1


def append(model: Model, client: Client, key: bytes, data: bytes) -> Reply:
    whole = model.data(client, key) + data
    model.store(client, key, whole)
    return len(whole)


def strlen(model: Model, client: Client, key: bytes) -> Reply:
    return len(model.data(client, key))


def getrange(model: Model, client: Client, key: bytes, first: bytes, last: bytes) -> Reply:
    start, end = parse_integer(first), parse_integer(last)
    data = model.data(client, key)
    if start < 0 and end < 0 and start > end:
        return b""
    start = max(start + len(data), 0) if start < 0 else start
    end = max(end + len(data), 0) if end < 0 else end
    return data[start : end + 1]


def setrange(model: Model, client: Client, key: bytes, offset: bytes, data: bytes) -> Reply:
    start = parse_integer(offset)
    if start < 0:
        raise CommandFailure("ERR offset is out of range")
    old = model.data(client, key)
    if not data:
        return len(old)
    if start + len(data) > STRING_BYTES_MAX:
        raise CommandFailure("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    padded = old.ljust(start, b"\0")
    whole = padded[:start] + data + padded[start + len(data) :]
    model.store(client, key, whole)
    return len(whole)


def _add(model: Model, client: Client, key: bytes, amount: int) -> Reply:
    value = model.string(client, key)
    result = (parse_integer(value.data) if value else 0) + amount
    if not LLONG_MIN <= result <= LLONG_MAX:
        raise CommandFailure("ERR increment or decrement would overflow")
    model.store(client, key, b"%d" % result)
    return result


def incrby(model: Model, client: Client, key: bytes, amount: bytes) -> Reply:
    return _add(model, client, key, parse_integer(amount))


def decrby(model: Model, client: Client, key: bytes, amount: bytes) -> Reply:
    number = parse_integer(amount)
    if number == LLONG_MIN:
        raise CommandFailure("ERR decrement would overflow")
    return _add(model, client, key, -number)


# Keys


def delete(model: Model, client: Client, *keys: bytes) -> Reply:
    return sum(model.remove(client, key) for key in keys)


def exists(model: Model, client: Client, *keys: bytes) -> Reply:
    return sum(model.lookup(client, key) is not None for key in keys)


def type_(model: Model, client: Client, key: bytes) -> Reply:
    value = model.lookup(client, key)
    if value is None:
        return Status(b"none")
    return Status(TYPES[type(value.data)])


def _rename(model: Model, client: Client, source: bytes, target: bytes, *, is_nx: bool) -> Reply:
    value = model.lookup(client, source)
    if value is None:
        raise CommandFailure("ERR no such key")
    if source == target:
        return 0 if is_nx else OK
    if is_nx and model.lookup(client, target):
        return 0
    model.remove(client, source)
    model.store(client, target, value.data, value.deadline_ms)
    return 1 if is_nx else OK


def rename(model: Model, client: Client, source: bytes, target: bytes) -> Reply:
    return _rename(model, client, source, target, is_nx=False)


def renamenx(model: Model, client: Client, source: bytes, target: bytes) -> Reply:
    return _rename(model, client, source, target, is_nx=True)


def copy(model: Model, client: Client, source: bytes, target: bytes, *words: bytes) -> Reply:
    database, is_replace = client.database, False
    rest = list(words)
    while rest:
        word = rest.pop(0).lower()
        if word == b"replace":
            is_replace = True
        elif word == b"db" and rest:
            database = parse_database(rest.pop(0))
        else:
            raise CommandFailure("ERR syntax error")
    if database == client.database and source == target:
        raise CommandFailure("ERR source and destination objects are the same")
    value = model.lookup(client, source)
    there = Client(database=database)
    if value is None or (model.lookup(there, target) and not is_replace):
        return 0
    model.store(there, target, value.data, value.deadline_ms)
    return 1


def randomkey(model: Model, client: Client) -> Reply:
    return next(iter(model.keys(client.database)), None)


def _expire(unit_ms: int, is_absolute: bool, name: str) -> Function:
    def command(model: Model, client: Client, key: bytes, amount: bytes, *words: bytes) -> Reply:
        flags = parse_expire_flags(words)
        base = 0 if is_absolute else model.now_ms()
        deadline = to_deadline_ms(amount, unit_ms, base, name, is_negative_allowed=True)
        value = model.lookup(client, key)
        if value is None or not _is_wanted(flags, value.deadline_ms, deadline):
            return 0
        model.set_deadline(client, key, deadline)
        return 1

    return command


def _is_wanted(flags: ExpireFlags, old: int | None, new: int) -> bool:
    """Return whether NX, XX, GT and LT allow the change; no deadline counts as infinite."""
    if (flags.is_nx and old is not None) or (flags.is_xx and old is None):
        return False
    if flags.is_gt and (old is None or new <= old):
        return False
    return not (flags.is_lt and old is not None and new >= old)


def _ttl(unit_ms: int, is_absolute: bool) -> Function:
    def command(model: Model, client: Client, key: bytes) -> Reply:
        value = model.lookup(client, key)
        if value is None:
            return -2
        if value.deadline_ms is None:
            return -1
        left = value.deadline_ms - (0 if is_absolute else model.now_ms())
        return max(left, 0) if unit_ms == 1 else (max(left, 0) + unit_ms // 2) // unit_ms

    return command


def persist(model: Model, client: Client, key: bytes) -> Reply:
    value = model.lookup(client, key)
    if value is None or value.deadline_ms is None:
        return 0
    model.set_deadline(client, key, None)
    return 1


def keys(model: Model, client: Client, pattern: bytes) -> Reply:
    expression = glob_expression(pattern)
    return [key for key in model.keys(client.database) if expression.fullmatch(key)]


# Databases


def select(model: Model, client: Client, number: bytes) -> Reply:
    database = parse_integer(number)
    if not 0 <= database < DATABASES_COUNT:
        raise CommandFailure("ERR DB index is out of range")
    client.database = database
    return OK


def move(model: Model, client: Client, key: bytes, number: bytes) -> Reply:
    there = Client(database=parse_database(number))
    if there.database == client.database:
        raise CommandFailure("ERR source and destination objects are the same")
    value = model.lookup(client, key)
    if value is None or model.lookup(there, key):
        return 0
    model.remove(client, key)
    model.store(there, key, value.data, value.deadline_ms)
    return 1


def swapdb(model: Model, client: Client, first: bytes, second: bytes) -> Reply:
    one = parse_integer(first, "ERR invalid first DB index")
    other = parse_integer(second, "ERR invalid second DB index")
    if not (0 <= one < DATABASES_COUNT and 0 <= other < DATABASES_COUNT):
        raise CommandFailure("ERR DB index is out of range")
    model.swap(one, other)
    return OK


def dbsize(model: Model, client: Client) -> Reply:
    return len(model.keys(client.database))


def _flush(is_all: bool) -> Function:
    def command(model: Model, client: Client, *words: bytes) -> Reply:
        if len(words) > 1 or (words and words[0].lower() not in (b"sync", b"async")):
            raise CommandFailure("ERR syntax error")
        model.flush(range(DATABASES_COUNT) if is_all else [client.database])
        return OK

    return command


# Transactions


def multi(model: Model, client: Client) -> Reply:
    if client.queue is not None:
        raise CommandFailure("ERR MULTI calls can not be nested")
    client.queue = []
    client.is_spoiled = False
    return OK


def end_transaction(client: Client) -> None:
    """Leave MULTI and forget what was watched."""
    client.queue = None
    client.is_spoiled = False
    unwatch_all(client)


def unwatch_all(client: Client) -> None:
    """Forget what was watched."""
    client.watched.clear()
    client.is_dirty = False


def exec_(model: Model, client: Client) -> Reply:
    if client.queue is None:
        raise CommandFailure("ERR EXEC without MULTI")
    for database, key in client.watched:
        model.lookup(Client(database=database), key)  # a deadline that has passed is a change
    queue, is_spoiled, is_dirty = client.queue, client.is_spoiled, client.is_dirty
    end_transaction(client)
    if is_spoiled:
        return ErrorReply("EXECABORT Transaction discarded because of previous errors.")
    if is_dirty:
        return None
    return [model.run(COMMANDS[words[0].lower()][0], client, words) for words in queue]


def discard(model: Model, client: Client) -> Reply:
    if client.queue is None:
        raise CommandFailure("ERR DISCARD without MULTI")
    end_transaction(client)
    return OK


def watch(model: Model, client: Client, *names: bytes) -> Reply:
    if client.queue is not None:
        raise CommandFailure("ERR WATCH inside MULTI is not allowed")
    for name in names:
        model.lookup(client, name)  # what is past its deadline already is absent from the start
        client.watched.add((client.database, name))
    return OK


def unwatch(model: Model, client: Client) -> Reply:
    unwatch_all(client)
    return OK


# Connections


def ping(model: Model, client: Client, *words: bytes) -> Reply:
    if len(words) > 1:
        raise CommandFailure("ERR wrong number of arguments for 'ping' command")
    return words[0] if words else Status(b"PONG")


def echo(model: Model, client: Client, word: bytes) -> Reply:
    return word


# Name: (function, arity); negative for at least so many words, the name included.
COMMANDS: dict[bytes, tuple[Function, int]] = {
    b"append": (append, 3),
    b"copy": (copy, -3),
    b"dbsize": (dbsize, 1),
    b"decr": (lambda model, client, key: _add(model, client, key, -1), 2),
    b"decrby": (decrby, 3),
    b"del": (delete, -2),
    b"discard": (discard, 1),
    b"echo": (echo, 2),
    b"exec": (exec_, 1),
    b"exists": (exists, -2),
    b"expire": (_expire(1000, False, "expire"), -3),
    b"expireat": (_expire(1000, True, "expireat"), -3),
    b"expiretime": (_ttl(1000, True), 2),
    b"flushall": (_flush(True), -1),
    b"flushdb": (_flush(False), -1),
    b"get": (get, 2),
    b"getdel": (getdel, 2),
    b"getex": (getex, -2),
    b"getrange": (getrange, 4),
    b"getset": (getset, 3),
    b"incr": (lambda model, client, key: _add(model, client, key, 1), 2),
    b"incrby": (incrby, 3),
    b"keys": (keys, 2),
    b"mget": (mget, -2),
    b"move": (move, 3),
    b"mset": (mset, -3),
    b"msetnx": (msetnx, -3),
    b"multi": (multi, 1),
    b"persist": (persist, 2),
    b"pexpire": (_expire(1, False, "pexpire"), -3),
    b"pexpireat": (_expire(1, True, "pexpireat"), -3),
    b"pexpiretime": (_ttl(1, True), 2),
    b"ping": (ping, -1),
    b"psetex": (_set_for("psetex", 1), 4),
    b"pttl": (_ttl(1, False), 2),
    b"randomkey": (randomkey, 1),
    b"rename": (rename, 3),
    b"renamenx": (renamenx, 3),
    b"select": (select, 2),
    b"set": (set_, -3),
    b"setex": (_set_for("setex", 1000), 4),
    b"setnx": (setnx, 3),
    b"setrange": (setrange, 4),
    b"strlen": (strlen, 2),
    b"substr": (getrange, 4),
    b"swapdb": (swapdb, 3),
    b"touch": (exists, -2),
    b"ttl": (_ttl(1000, False), 2),
    b"type": (type_, 2),
    b"unlink": (delete, -2),
    b"unwatch": (unwatch, 1),
    b"watch": (watch, -2),
    **model_hash.COMMANDS,
    **model_list.COMMANDS,
    **model_set.COMMANDS,
    **ZSET_COMMANDS,
}
