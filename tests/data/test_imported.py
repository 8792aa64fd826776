"""The advice for data of one's own, where a model was imported without its data."""

from typing import Any

import pytest

from transduce.config import kinds
from transduce.data.imported import Imported, way
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.tasks.task import TaskConfig

TASKS: dict[str, Any] = {**kinds(TaskConfig.folder)}
DATA: dict[str, Any] = {**kinds(DataConfig.folder)}


@pytest.mark.parametrize("name", TASKS)
def test_the_data_that_are_advised_are_those_that_the_task_reads(name: str) -> None:
    reads, task = TASKS[name].reads, TASKS[name]()
    kind, path = way(reads).removeprefix("data.kind=").split()
    assert path == "data.path=..."
    task.suited(DATA[kind](path="x"))
    with pytest.raises(UserError, match=rf"data were not; name some of your own: data.kind={kind} data.path=\.\.\.$"):
        Imported(origin="x").load(reads)
    if name != "points":
        with pytest.raises(UserError, match="learns from"):
            task.suited(DATA["ring"]())
