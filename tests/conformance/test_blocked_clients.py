"""Blocked clients of a kvnode process, through redis-py: threads that wait, time-outs, hang-ups."""

import time
from concurrent.futures import ThreadPoolExecutor

import redis

from tests.support.process import ServerProcess

SECONDS_MAX = 10.0
WORKERS = 6
JOBS = 200


def client(server: ServerProcess) -> redis.Redis:
    return redis.Redis(port=server.port, socket_timeout=SECONDS_MAX)


def wait_blocked(control: redis.Redis, count: int) -> None:
    """Return once `count` clients wait."""
    deadline = time.monotonic() + SECONDS_MAX
    while control.info("clients")["blocked_clients"] != count:
        assert time.monotonic() < deadline, f"never {count} blocked clients"


def test_workers_share_what_is_given_out(kvnode_server: ServerProcess) -> None:
    """Each job goes to one worker, none is lost; at the end every worker gets its own stop."""
    control = client(kvnode_server)
    control.flushall()

    def work(_: int) -> list[bytes]:
        done = []
        with client(kvnode_server) as own:
            while True:
                _, job, _ = own.bzpopmin("jobs", timeout=SECONDS_MAX)
                if job.startswith(b"stop"):
                    return done
                done.append(job)

    with ThreadPoolExecutor(WORKERS) as pool:
        results = [pool.submit(work, i) for i in range(WORKERS)]
        wait_blocked(control, WORKERS)
        for i in range(0, JOBS, 4):
            control.zadd("jobs", {f"job {j}": j for j in range(i, i + 4)})
        control.zadd("jobs", {f"stop {i}": JOBS + i for i in range(WORKERS)})
        done = [job for result in results for job in result.result(SECONDS_MAX)]
    assert sorted(done) == sorted(b"job %d" % i for i in range(JOBS))
    assert control.info("clients")["blocked_clients"] == 0
    control.close()


def test_an_idle_node_wakes_for_a_deadline(kvnode_server: ServerProcess) -> None:
    with client(kvnode_server) as waiting:
        started = time.monotonic()
        assert waiting.bzpopmin("none", timeout=0.05) is None
        assert 0.049 <= time.monotonic() - started < SECONDS_MAX / 2


def test_who_hangs_up_takes_nothing(kvnode_server: ServerProcess) -> None:
    control = client(kvnode_server)
    control.flushall()
    gone = kvnode_server.connect(SECONDS_MAX)
    gone.send(b"BZPOPMIN k 0\r\n")
    wait_blocked(control, 1)
    gone.close()
    wait_blocked(control, 0)
    control.zadd("k", {"a": 1})
    assert control.zcard("k") == 1
    control.close()


def test_who_is_killed_takes_nothing(kvnode_server: ServerProcess) -> None:
    control = client(kvnode_server)
    control.flushall()
    with (
        kvnode_server.connect(SECONDS_MAX) as first,
        kvnode_server.connect(SECONDS_MAX) as second,
        kvnode_server.connect(SECONDS_MAX) as third,
    ):
        id_ = first.call("CLIENT", "ID")
        for count, connection in enumerate((first, second, third), 1):
            connection.send(b"BLPOP k 0\r\n")
            wait_blocked(control, count)
        assert control.client_kill_filter(_id=id_) == 1
        second.close()
        wait_blocked(control, 1)
        control.rpush("k", "a", "b")
        assert third.receive() == [b"k", b"a"]
        assert first.at_end()
    assert control.lrange("k", 0, -1) == [b"b"]
    control.close()
