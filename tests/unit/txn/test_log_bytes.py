"""How much log lies behind an entry."""

from kvnode.base.limits import LOG_MARK_BYTES
from kvnode.txn.log_bytes import LogBytes


def test_bytes_before_an_entry():
    log = LogBytes(10)
    for index in range(11, 100):
        log.note(index, (index - 10) * LOG_MARK_BYTES // 2)
    assert log.at(5) == log.at(10) == log.at(11) == 0
    assert log.at(12) == log.at(13) == LOG_MARK_BYTES
    assert log.at(1000) == 44 * LOG_MARK_BYTES
    log.forget_before(51)
    assert log.at(50) == log.at(51) == log.at(0) == 20 * LOG_MARK_BYTES
    assert log.at(52) == 21 * LOG_MARK_BYTES
    log.forget_before(10**9)
    assert log.at(52) == 44 * LOG_MARK_BYTES


def test_small_entries_take_no_room():
    log = LogBytes(0)
    for index in range(1, 1000):
        log.note(index, index)
    assert log.at(999) == 0
