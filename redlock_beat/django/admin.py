"""The admin: "Periodic tasks", with Django's own permissions (view, add, change, delete), and one to run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.urls import NoReverseMatch, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from ..errors import RedisUnavailable, RedlockBeatError
from .actions import Actions
from .away import unless_redis_is_away
from .columns import Columns
from .entries import EntrySet
from .fields import WHEN
from .forms import EntryForm, sentence
from .listing import EntryList, OriginFilter, StateFilter
from .models import PeriodicTask
from .project import schedule

#: Rows of history and of edits that an entry's page shows.
_ROWS = 15


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(Actions, Columns, admin.ModelAdmin):
    """Entries of the schedule."""

    form = EntryForm

    class Media:
        """What the form's page loads."""

        js = ("redlock_beat/kinds.js",)

    list_display = ("name", "active", "when", "next_run", "last_run", "task_of", "sent", "origin")
    list_filter = (StateFilter, OriginFilter)
    search_fields = ("name",)
    search_help_text = "Parts of the name or the task, and labels: billing team=acc*"
    show_full_result_count = True
    show_facets = admin.ShowFacets.NEVER
    actions = ("enable", "disable", "run_now", "skip_next", "remove_selected")
    ordering = ("name",)
    list_per_page = 100
    list_max_show_all = 1000
    fieldsets = (
        (None, {"fields": ("name", "task", "enabled", "description", "revision")}),
        (
            "Schedule",
            {
                "fields": (
                    "kind",
                    ("every", "period"),
                    "crontab",
                    ("event", "latitude", "longitude"),
                    "rrule",
                    "at",
                    "timezone",
                    "start",
                    "end",
                    "one_off",
                )
            },
        ),
        ("Arguments", {"fields": ("args", "kwargs")}),
        (
            "Execution options",
            {"fields": ("expire_seconds", "queue", "exchange", "routing_key", "priority", "headers", "options")},
        ),
        (
            "Policies",
            {
                "classes": ("collapse",),
                "fields": (
                    "missed",
                    ("grace", "jitter"),
                    "overlap",
                    ("max_runs", "pause_on_failure"),
                    ("not_on", "only_on"),
                    "labels",
                ),
            },
        ),
    )

    # --- permissions ---

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """The actions, without Django's own removal: it asks a database what would go along."""
        where = {} if action_location is None else {"action_location": action_location}  # Django 6.1 asks for a place
        found: dict[str, Any] = super().get_actions(request, **where)
        found.pop("delete_selected", None)
        return found

    # --- the change list ---

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The one that asks Redis."""
        return EntryList

    def get_queryset(self, request: HttpRequest) -> EntrySet:
        """All entries."""
        return PeriodicTask.objects.get_queryset()

    # --- one entry ---

    def get_urls(self) -> list[Any]:
        """The admin's own, and one for the buttons on an entry's page."""
        url = path("<path:object_id>/do/<str:verb>/", self.admin_site.admin_view(self.do), name="redlock_beat_do")
        return [url, *super().get_urls()]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[EntryForm]:
        """The form, which knows what became of the request so far."""
        form = super().get_form(request, obj, change=change, **kwargs)
        known = {"refused": getattr(request, "refused", None), "previewing": "_preview" in request.POST}
        return type("EntryForm", (form,), known)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields; who may only look sees none of other kinds of schedule, which would all be empty."""
        found = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return found
        others = {name for kind, names in WHEN.items() if kind != getattr(obj, "kind", kind) for name in names}
        return [(title, {**parts, "fields": _without(parts["fields"], others)}) for title, parts in found]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> PeriodicTask | None:
        """The entry of a name, with the values that are shown to whoever may only look."""
        try:
            row = PeriodicTask.objects.get(pk=object_id)
        except PeriodicTask.DoesNotExist:
            return None
        for name, value in EntryForm(instance=row).initial.items():
            if name not in ("name", "task", "enabled"):
                setattr(row, name, value)
        return row

    @unless_redis_is_away
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The change list; what is held and who leads stands above it."""
        status = schedule().status()
        return super().changelist_view(request, {"status": status, "page_url": _page_url(), **(extra_context or {})})

    @unless_redis_is_away
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """The form; once more, with the reason, when the schedule refuses what it says."""
        context = {**(extra_context or {}), **({} if object_id is None else self._about(unquote(object_id)))}
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except RedlockBeatError as exc:
            if request.method != "POST" or isinstance(exc, RedisUnavailable):
                raise
            request.refused = sentence(exc)
            return super().changeform_view(request, object_id, form_url, context)

    @unless_redis_is_away
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """The question whether to remove it, and the removal."""
        return super().delete_view(request, object_id, extra_context)

    @unless_redis_is_away
    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """The admin's log of an entry."""
        return super().history_view(request, object_id, extra_context)

    def _about(self, name: str) -> dict[str, Any]:
        """What an entry's page shows beside the form."""
        there = schedule()
        entry = there.get(name)
        if entry is None:
            return {}
        slots: Any = ()
        why = None
        if entry.next_due is not None:
            try:
                slots = there.preview(name, 10)
            except RedisUnavailable:
                raise
            except RedlockBeatError as exc:
                why = sentence(exc)
        return {
            "entry": entry,
            "slots": slots,
            "why": why,
            "history": there.history(name, n=_ROWS),
            "edits": there.log(name, n=_ROWS),
            "page_url": _page_url(name),
        }

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The form, with the buttons that the user may press."""
        form = context["adminform"].form
        context.update(
            may_run=self.has_run_permission(request),
            previewed=form if getattr(form, "previewing", False) and form.words else None,
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: EntryForm, change: bool) -> None:
        """Add or update the entry."""
        keywords = form.keywords(form.cleaned_data)
        if not change:
            parts = [keywords.pop(part) for part in ("task", "when", "args", "kwargs")]
            schedule().add(obj.name, *parts, actor=self.actor(request), **keywords)
        elif keywords:
            revision = form.cleaned_data.get("revision")
            schedule().update(obj.name, revision=revision, actor=self.actor(request), **keywords)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: an entry has no rows of others."""

    def delete_model(self, request: HttpRequest, obj: PeriodicTask) -> None:
        """Remove the entry."""
        schedule().remove(obj.name, actor=self.actor(request))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What a removal takes with it: the entries, and nothing else."""
        shown = [format_html("Periodic task: {}", one.name) for one in objs]
        lacking = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        return shown, {str(self.opts.verbose_name_plural): len(shown)}, lacking, []


def _without(fields: Iterable[Any], names: set[str]) -> list[Any]:
    """Fields, of which some stand in groups on one line, without those of some names."""
    left = [_without(one, names) if isinstance(one, tuple) else one for one in fields if one not in names]
    return [one for one in left if one]


def _page_url(name: str | None = None) -> str | None:
    """Where the page of ``redlock_beat.web`` is mounted, if it is."""
    try:
        page = str(reverse("redlock_beat:page"))
    except NoReverseMatch:
        return None
    return page if name is None else f"{page}entry?{urlencode({'name': name})}"
