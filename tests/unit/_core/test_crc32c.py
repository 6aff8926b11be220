"""CRC-32C against google-crc32c and the vectors of RFC 3720, by instruction and by table."""

import random

import google_crc32c
import pytest

from kvnode._core import crc32c

WAYS = [crc32c.extend, crc32c.extend_table]


@pytest.mark.parametrize("extend", WAYS)
def test_rfc3720_vectors(extend):
    assert extend(0, b"") == 0
    assert extend(0, bytes(32)) == 0x8A9136AA
    assert extend(0, b"\xff" * 32) == 0x62A8AB43
    assert extend(0, bytes(range(32))) == 0x46DD794E
    assert extend(0, b"123456789") == 0xE3069283


@pytest.mark.parametrize("extend", WAYS)
def test_equals_google_crc32c(extend):
    rng = random.Random(1)
    for n in [*range(70), 1000, 4095, 65537]:
        data = rng.randbytes(n)
        start = rng.getrandbits(32)
        assert extend(start, data) == google_crc32c.extend(start, data)


@pytest.mark.parametrize("extend", WAYS)
def test_extend_continues(extend):
    data = random.Random(2).randbytes(300)
    for cut in range(len(data)):
        assert extend(extend(0, data[:cut]), data[cut:]) == extend(0, data)


def test_extend_takes_any_buffer():
    data = bytearray(b"123456789")
    assert crc32c.extend(0, memoryview(data)) == 0xE3069283
    with pytest.raises(TypeError):
        crc32c.extend(0, None)
