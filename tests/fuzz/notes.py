"""A plugin of pytest: notes what became of each property as soon as it is done."""
import pytest

from tests.fuzz import judge


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Count anew for each property, and note how it ended."""
    judge.figures.clear()
    code = 1
    try:
        result = yield
        code = 0
        return result
    finally:
        judge.note(code=code)
