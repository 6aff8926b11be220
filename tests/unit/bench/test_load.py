"""The load generator against servers that behave in known ways."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import load
from bench.load import NS_PER_MS, Gaps, Pause, Result

SECOND_NS = 1_000_000_000


@contextmanager
def one_client_server(reply: bytes, stall_at: int = 0, stall_seconds: float = 0.0) -> Iterator[int]:
    """Answer every GET of one connection; stand still once after `stall_at` requests."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served = 0
        with client:
            while data := client.recv(1 << 16):
                requests = data.count(b"GET")
                if served < stall_at <= served + requests:
                    time.sleep(stall_seconds)
                served += requests
                client.sendall(reply * requests)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


def test_a_stall_is_counted_for_every_request_that_was_due_in_it() -> None:
    """The planted fault: a closed loop would see one slow request, the schedule sees 100."""
    with one_client_server(b"$1\r\nx\r\n", stall_at=100, stall_seconds=0.2) as port:
        result = load.run(
            port=port, rate=500, seconds=0.6, connections=1, writes=0, uniform=True, slow_ms=20
        )
    assert result.unanswered == 0
    histogram = result.histogram()
    assert histogram.get_total_count() == result.sent == result.replies
    assert histogram.get_max_value() > 180 * NS_PER_MS
    delayed = sum(count for value, count in result.buckets["read"] if value > 20 * NS_PER_MS)
    assert 70 <= delayed <= 120
    assert max(pause.worst for pause in result.pauses) > 180 * NS_PER_MS


def test_closed_loop_counts_every_kind_of_reply() -> None:
    with one_client_server(b"$-1\r\n") as port:
        result = load.run(port=port, requests=1000, connections=1, window=10, writes=0)
    assert (result.replies, result.nulls, result.errors) == (1000, 1000, 0)


def test_arrays_within_arrays_are_one_reply() -> None:
    with one_client_server(b"*3\r\n$2\r\n\r\n\r\n*2\r\n:1\r\n*0\r\n$-1\r\n") as port:
        result = load.run(port=port, requests=1000, connections=1, window=10, writes=0)
    assert (result.replies, result.nulls, result.unanswered) == (1000, 1000, 0)


def test_words_are_filled_for_each_request() -> None:
    got = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                got.append(client.recv(1 << 16))
                client.sendall(b"+OK\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        words = "ZADD z:{id} {n} {end} {random} {mixed} {value}"
        load.run(
            port=port,
            requests=1,
            connections=1,
            keys=1,
            first_key=7,
            sequential=True,
            writes=100,
            write=words,
            value_bytes=3,
        )
        thread.join()
    words = got[0].split(b"\r\n")
    assert words[:-3] == [
        *(b"*7", b"$4", b"ZADD", b"$14", b"z:000000000007", b"$1", b"7", b"$3", b"106"),
        *(b"$1", b"0", b"$1", b"0"),
    ]
    assert (words[-3], len(words[-2]), words[-1]) == (b"$3", 3, b"")


def test_an_error_reply_is_no_measurement() -> None:
    with (
        one_client_server(b"-ERR no\r\n") as port,
        pytest.raises(load.LoadError, match="ERR no"),
    ):
        load.run(port=port, requests=10, connections=1, writes=0)


def test_only_what_the_machine_did_not_cause_is_the_servers() -> None:
    pause = Pause(0, SECOND_NS, 0, 300 * NS_PER_MS)
    result = Result(pauses=[pause])
    assert load.own_pauses(result, Gaps(), 100) == [(300.0, 300.0)]
    both_cpus = Gaps([(0, 150 * NS_PER_MS), (50 * NS_PER_MS, 210 * NS_PER_MS)])
    assert load.own_pauses(result, both_cpus, 100) == []
    assert load.own_pauses(result, Gaps([(400 * NS_PER_MS, SECOND_NS)]), 100) != []
