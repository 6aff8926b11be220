"""The gate on instructions per operation."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.micro import callgrind
from bench.micro.scenarios import scenarios
from ci import perf_gate
from tests.unit.bench import dictionary

TARGET = "tests.unit.bench.dictionary:connect"


def test_growth_past_the_limit_is_a_complaint() -> None:
    baseline = {"GET": 1000.0, "SET": 1000.0}
    assert perf_gate.complaints(baseline, {"GET": 1019.0, "SET": 900.0}) == []
    assert perf_gate.complaints(baseline, {"GET": 1021.0, "SET": 900.0}) == ["GET grew by 2.1%"]
    assert perf_gate.complaints(baseline, {"GET": 1000.0, "INCR": 1.0}) == [
        "INCR has no baseline",
        "SET was not counted",
    ]


def test_scenarios_are_well_formed_and_reads_hit() -> None:
    feed = dictionary.connect()
    for scenario in scenarios():
        feed(scenario.prepare)
        replies = b"".join(feed(piece) for piece in scenario.arrivals())
        absent = replies.count(b"$-1\r\n")
        assert absent == (scenario.operations if scenario.name == "GET, absent" else 0)
        answered = replies.count(b"+OK\r\n") + replies.count(b"$")
        each = 7 if scenario.name.startswith("MULTI") else 1  # replies of an operation
        assert answered == each * scenario.operations, scenario.name


@pytest.mark.skipif(callgrind.missing() is not None, reason="needs valgrind")
def test_all_scenarios_are_counted() -> None:
    counts = callgrind.count(TARGET)
    assert list(counts) == [scenario.name for scenario in scenarios()]
    assert counts["GET, one a pass"] > counts["GET"] > 100


def test_a_change_past_the_baseline_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"GET": 1000.0, "SET": 2000.0}
    monkeypatch.setattr(callgrind, "missing", lambda: None)
    monkeypatch.setattr(callgrind, "count", lambda target: counts)
    options = ["--baseline", str(tmp_path / "baseline.json")]
    assert CliRunner().invoke(perf_gate.main, options).exit_code == 1
    assert CliRunner().invoke(perf_gate.main, [*options, "--update"]).exit_code == 0
    assert CliRunner().invoke(perf_gate.main, options).exit_code == 0
    counts["GET"] = 1030.0
    ran = CliRunner().invoke(perf_gate.main, options)
    assert ran.exit_code == 1
    assert "GET grew by 3.0%" in ran.output


def test_another_compiler_gives_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "baseline.json"
    perf_gate.write_baseline(path, "another compiler", {"GET": 1.0})
    monkeypatch.setattr(callgrind, "missing", lambda: None)
    ran = CliRunner().invoke(perf_gate.main, ["--baseline", str(path)])
    assert ran.exit_code == 0
    assert ran.output.startswith("skipped")
