"""The model of an entry: no table, no migration. It gives the admin names and permissions; the schedule is in Redis."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.manager import BaseManager

from ..entries.entry import MAX_NAME, Entry
from .entries import EntrySet


class EntryManager(BaseManager):
    """Where Django asks for rows: :class:`~redlock_beat.django.entries.EntrySet` answers."""

    def get_queryset(self) -> EntrySet:
        """All entries."""
        return EntrySet(self.model)

    def all(self) -> EntrySet:
        """All entries."""
        return self.get_queryset()

    def using(self, alias: str | None) -> EntrySet:
        """None: no database has any."""
        return self.get_queryset().using(alias)

    def filter(self, *args: Any, **which: Any) -> EntrySet:
        """Some entries."""
        return self.get_queryset().filter(*args, **which)

    def get(self, *args: Any, **which: Any) -> PeriodicTask:
        """One entry."""
        return self.get_queryset().get(*args, **which)

    def count(self) -> int:
        """How many there are."""
        return self.get_queryset().count()

    def create(self, *args: Any, **kwargs: Any) -> None:
        """Refused: there is no table."""
        raise TypeError("PeriodicTask has no table: add entries with redlock_beat.django.Schedule().add(...).")

    get_or_create = update_or_create = bulk_create = create


class PeriodicTask(models.Model):
    """An entry, for the admin and its permissions. Programs edit entries with ``redlock_beat.django.Schedule``."""

    name = models.CharField("name", max_length=MAX_NAME, primary_key=True)
    task = models.CharField("task", max_length=MAX_NAME)
    enabled = models.BooleanField("enabled", default=True)

    objects = EntryManager()

    #: What Redis has; None of one that is new, or that this release cannot read.
    entry: Entry | None = None

    class Meta:
        managed = False
        db_table = "redlock_beat_no_table"
        base_manager_name = "objects"
        verbose_name = "periodic task"
        verbose_name_plural = "periodic tasks"
        permissions = (("run_periodictask", "Can run periodic task"),)

    def __str__(self) -> str:
        return str(self.name)

    @classmethod
    def of(cls, entry: Entry) -> PeriodicTask:
        """The row of an entry."""
        row = cls(name=entry.name, task=entry.task, enabled=entry.enabled)
        row.entry = entry
        row._state.adding = False
        return row

    @classmethod
    def unreadable(cls, name: str) -> PeriodicTask:
        """The row of what stands in Redis and cannot be read: it may be looked at, and removed."""
        row = cls(name=name, task="")
        row._state.adding = False
        return row

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refused: there is no table."""
        raise TypeError("PeriodicTask has no table: edit entries with redlock_beat.django.Schedule().")

    delete = save
