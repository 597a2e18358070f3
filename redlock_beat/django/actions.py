"""What the admin does to entries besides its forms: actions on many, and buttons on one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from ..errors import BatchFailed, NoSuchEntry, RedlockBeatError, mask
from .away import unless_redis_is_away
from .entries import EntrySet
from .models import PeriodicTask
from .project import schedule

#: Edits in one batch of an action.
_BATCH = 500
#: A button -> the edit it makes, what is said then, and the permission it needs.
_BUTTONS = {
    "run": ("trigger", "sent once, now", "run"),
    "skip": ("skip", "told to skip its next run", "change"),
    "pause": ("pause", "disabled", "change"),
    "resume": ("resume", "enabled", "change"),
}


def _edit(name: str, words: str) -> Callable[..., None]:
    """An action that makes one edit of each chosen entry, in batches."""

    def action(self: Actions, request: HttpRequest, queryset: EntrySet) -> None:
        names = queryset.names()
        done: list[str] = []
        try:
            for start in range(0, len(names), _BATCH):
                page = names[start : start + _BATCH]
                done += self.edit(request, name, page)
        except RedlockBeatError as exc:
            self.message_user(request, mask(exc), messages.ERROR)
        self.note(request, done, words, DELETION if name == "remove" else CHANGE)
        if done:
            what = f"{len(done)} periodic task{'s were' if len(done) > 1 else ' was'} {words}."
            self.message_user(request, what, messages.SUCCESS)

    action.__name__ = f"{name}_selected"
    return action


class Actions:
    """Actions and buttons, as methods of the admin."""

    # What Django's admin gives it.
    opts: Any
    message_user: Any
    _get_obj_does_not_exist_redirect: Any

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whether the user may send an entry now."""
        return bool(request.user.has_perm("redlock_beat.run_periodictask"))

    def actor(self, request: HttpRequest) -> str:
        """Who signs an edit in the schedule's own log."""
        return f"{request.user.get_username()} (admin)"[:200]

    def edit(self, request: HttpRequest, name: str, page: list[str]) -> list[str]:
        """Make one edit of each entry of a page, all or none; those that there were."""
        there = schedule()
        for _ in range(3):
            try:
                with there.batch() as batch:
                    for one in page:
                        getattr(batch, name)(one, actor=self.actor(request))
                return page
            except BatchFailed as exc:
                if not isinstance(exc.cause, NoSuchEntry):
                    raise
                page = [one.name for one in PeriodicTask.objects.filter(pk__in=page)]  # one has gone meanwhile
        raise RedlockBeatError("entries kept vanishing while they were edited; nothing of them was changed. Try again.")

    def note(self, request: HttpRequest, names: Iterable[str], words: str, flag: int = CHANGE) -> None:
        """Write down in the admin's log what was done."""
        kind = ContentType.objects.get_for_model(PeriodicTask)
        LogEntry.objects.bulk_create(
            LogEntry(
                user_id=request.user.pk,
                content_type=kind,
                object_id=name,
                object_repr=name[:200],
                action_flag=flag,
                change_message=words,
            )
            for name in names
        )

    enable = admin.action(_edit("resume", "enabled"), permissions=["change"], description="Enable selected")
    disable = admin.action(_edit("pause", "disabled"), permissions=["change"], description="Disable selected")
    run_now = admin.action(_edit("trigger", "sent once, now"), permissions=["run"], description="Run selected now")
    skip_next = admin.action(
        _edit("skip", "told to skip the next run"), permissions=["change"], description="Skip the next run of selected"
    )
    remove_selected = admin.action(_edit("remove", "removed"), permissions=["delete"], description="Remove selected")

    @unless_redis_is_away
    def do(self, request: HttpRequest, object_id: str, verb: str) -> Any:
        """What a button on an entry's page does."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if verb not in _BUTTONS:
            raise PermissionDenied
        edit, words, permission = _BUTTONS[verb]
        if not getattr(self, f"has_{permission}_permission")(request):
            raise PermissionDenied
        name = unquote(object_id)
        try:
            getattr(schedule(), edit)(name, actor=self.actor(request))
        except NoSuchEntry:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        self.note(request, [name], words)
        self.message_user(request, f"The periodic task “{name}” was {words}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:redlock_beat_periodictask_change", args=[quote(name)]))
