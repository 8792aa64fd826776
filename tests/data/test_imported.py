"""The advice for data of one's own, where a model was imported without its data."""

import pytest

from transduce.config import kinds
from transduce.config.part import Part
from transduce.data.imported import Imported, way
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.tasks.task import TaskConfig

TASKS: dict[str, type[Part]] = {
    name: task
    for name, task in kinds(TaskConfig.folder).items()
    if name != "points"  # which no file holds but a table
}


@pytest.mark.parametrize("name", TASKS)
def test_the_data_that_are_advised_are_those_that_the_task_reads(name: str) -> None:
    task = TASKS[name]
    assert issubclass(task, TaskConfig)
    kind, path = way(task.reads).removeprefix("data.kind=").split()
    own = kinds(DataConfig.folder)[kind]
    assert issubclass(own, DataConfig)
    assert path == "data.path=..."
    task().suited(own(path="x"))  # type: ignore[call-arg]
    with pytest.raises(UserError, match=rf"data were not; name some of your own: data.kind={kind} data.path=\.\.\.$"):
        Imported(origin="x").load(task.reads)
    with pytest.raises(UserError, match="learns from"):
        task().suited(kinds(DataConfig.folder)["ring"]())  # type: ignore[call-arg, arg-type]
