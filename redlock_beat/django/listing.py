"""The change list of the admin, and its filters."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from .entries import EntrySet


class EntryList(ChangeList):
    """The change list: filters, words and the order are answered by :class:`EntrySet`."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> EntrySet:
        """The entries that are asked for."""
        specs, self.has_filters, rest, _, self.has_active_filters = self.get_filters(request)
        self.filter_specs = specs
        if rest:
            raise IncorrectLookupParameters(f"the schedule has no {', '.join(rest)}")
        self.clear_all_filters_qs = self.get_query_string(remove=self.get_filters_params())
        found: EntrySet = self.root_queryset
        for spec in specs:
            found = spec.queryset(request, found)
        ordered: EntrySet = found.order_by(*self.get_ordering(request, found)[:1]).search(self.query)
        return ordered


class _Filter(admin.SimpleListFilter):
    choices_of: tuple[tuple[str, str], ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return self.choices_of


class StateFilter(_Filter):
    """By what state they are in."""

    title = parameter_name = "state"
    choices_of = tuple((one, one) for one in ("active", "paused", "finished", "unreadable"))

    def queryset(self, request: HttpRequest, queryset: EntrySet) -> EntrySet:
        """Those in the state."""
        return queryset.in_state(self.value()) if self.value() else queryset


class OriginFilter(_Filter):
    """By where they come from."""

    title = parameter_name = "origin"
    choices_of = (("config", "settings (CELERY_BEAT_SCHEDULE)"), ("api", "made at runtime"))

    def queryset(self, request: HttpRequest, queryset: EntrySet) -> EntrySet:
        """Those from there."""
        return queryset.of_origin(self.value()) if self.value() else queryset
