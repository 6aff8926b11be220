"""Options shared by all tests."""

import pytest
from hypothesis import settings

settings.register_profile("kvnode", deadline=None)  # a slow machine is no failure
settings.load_profile("kvnode")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="write printed results into tests/data/*.txt"
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite"))
