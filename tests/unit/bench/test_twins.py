"""The comparison of native parts with their twins."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from bench.micro import twins
from kvnode._core import claims, deltas, keys, sortable


@pytest.mark.parametrize("operation", twins.operations(), ids=lambda operation: operation.name)
def test_both_answer_alike(operation):
    twins.compare(replace(operation, arguments=operation.arguments[:50]))


def public(module):
    """Return the functions and methods that a module's interface shows, with a word before each."""
    path = Path(module.__file__)
    tree = ast.parse((path.parent / f"{path.name.split('.')[0]}.pyi").read_text())
    short = module.__name__.rpartition(".")[2]
    for owner, body in [(short, tree.body)] + [
        (node.name, node.body) for node in tree.body if isinstance(node, ast.ClassDef)
    ]:
        for node in body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
                yield f"{owner}.{node.name}"


@pytest.mark.parametrize("module", [keys, sortable, deltas, claims])
def test_each_function_has_a_twin(module):
    compared = {word for operation in twins.operations() for word in operation.of.split()}
    assert set(public(module)) <= compared


def test_a_planted_difference_is_found():
    def off_by_one(index):
        return one.native(index) + 1

    one = next(each for each in twins.operations() if each.name.startswith("position of an index"))
    with pytest.raises(twins.TwinError):
        twins.compare(replace(one, naive=off_by_one))


def test_a_row_has_times_and_their_ratio():
    one = twins.Operation("nothing", "", len, sum, [(1, 2)] * 3)
    name, *figures = twins.measure(one, rounds=1)
    assert name == "nothing"
    assert len(figures) == 3
    assert float(figures[2].replace(",", "")) > 0
