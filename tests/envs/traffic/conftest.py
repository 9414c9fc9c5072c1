"""What the tests of city traffic share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.envs.traffic import crooked


@pytest.fixture(scope="session", autouse=True)
def crooked_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The task `crooked.TASK` exists."""
    with crooked.registered(tmp_path_factory.mktemp("crooked")):
        yield
