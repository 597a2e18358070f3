"""Workers of the project with tasks of its own, for these tests."""

from tests.task_workers import project as project
