"""What the report about long scripts makes of what was seen."""

from xml.etree import ElementTree

from bench import plot
from bench.load import NS_PER_MS, Result
from bench.longscript import Phase, rows, verdict


def phase(name: str, calm_ms: int, busy_ms: int) -> Phase:
    """Three calm seconds, three busy ones, a calm one."""
    latencies = [calm_ms] * 3 + [busy_ms] * 3 + [calm_ms]
    result = Result()
    for second, ms in enumerate(latencies):
        result.take(f"due {second} {ms * NS_PER_MS} 1000")
    return Phase(name, 1000.0, result, (2.9, 6.0))


def test_the_busy_time_counts() -> None:
    script, foreign = phase("script", 1, 30), phase("process", 1, 10)
    ratio, sentence = verdict(script, foreign)
    assert round(ratio, 1) == 3.0
    assert sentence.startswith("MISSED")
    assert verdict(foreign, foreign)[1].startswith("reached")
    (cells,) = rows([script])
    assert [round(float(cell)) for cell in cells[2:7]] == [1, 30, 30, 30, 30]


def test_the_picture_is_one(tmp_path) -> None:
    one = phase("script", 1, 30)
    picture = tmp_path / "docs" / "picture.svg"
    plot.write(picture, "p99", [(one.name, one.by_second(99))], one.busy)
    root = ElementTree.parse(picture).getroot()
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 1
    assert len(lines[0].attrib["points"].split()) == 7
