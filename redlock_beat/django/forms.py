"""The form of an entry, with the fields that users of django-celery-beat know.

What is wrong with a field is said at the field, and what the schedule refuses, above the form.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from celery.schedules import solar
from django import forms
from django.contrib.admin import widgets
from django.utils.html import format_html, format_html_join

from ..clock import micros, moment
from ..entries.entry import Entry
from ..entries.labels import labels_of
from ..entries.policies import first_slot, next_slot
from ..errors import InvalidSchedule, RedlockBeatError, mask
from ..recurrence.zones import zone
from .fields import PERIODS, POLICIES, WHEN, parts_of, read_json, values_of, when_of
from .models import PeriodicTask
from .project import celery_app, schedule

KINDS = {
    "interval": "Interval",
    "crontab": "Crontab",
    "solar": "Solar event",
    "rrule": "Recurrence rule",
    "once": "Once, at a time (clocked)",
}
#: Slots that a preview shows.
SLOTS = 10
_NO_CHOICE = ("", "---------")


class Suggested(forms.TextInput):
    """A text field that suggests values, and takes any other."""

    def __init__(self, suggestions: Any, **attrs: Any) -> None:
        super().__init__({"class": "vTextField", "autocomplete": "off", **attrs})
        self.suggestions = suggestions

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> str:
        """The field and its list."""
        found = format_html_join("", '<option value="{}">', ((one,) for one in self.suggestions()))
        field = super().render(name, value, {**(attrs or {}), "list": f"{name}-list"}, renderer)
        return str(format_html('{}<datalist id="{}-list">{}</datalist>', field, name, found))


def known_tasks() -> list[str]:
    """The tasks that the project's app knows, but for Celery's own."""
    app = celery_app()
    load_tasks()
    return sorted(name for name in app.tasks if not name.startswith("celery."))


@functools.cache
def load_tasks() -> None:
    """Import the task modules of the project, once: a process that serves pages has not needed them so far."""
    celery_app().loader.import_default_modules()


def known_zones() -> list[str]:
    """The zones that there are."""
    from zoneinfo import available_timezones

    return sorted(available_timezones())


def sentence(exc: Exception) -> str:
    """What an error says, as a sentence of its own."""
    text = mask(exc)
    return text[:1].upper() + text[1:]


class ParsedField(forms.CharField):
    """A text that means something: two texts that mean the same are no change."""

    def parse(self, text: str) -> Any:
        """What a text means; InvalidSchedule says what is wrong with it."""
        raise NotImplementedError

    def to_python(self, value: Any) -> Any:
        """What the user's text means."""
        try:
            return self.parse(super().to_python(value))
        except InvalidSchedule as exc:
            raise forms.ValidationError(sentence(exc), code="invalid") from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether it means something else."""
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except forms.ValidationError:
            return True


class JsonField(ParsedField):
    """A list or an object in JSON."""

    def __init__(self, kind: type, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 2, "cols": 60, "class": "vLargeTextField", "spellcheck": "false"})
        super().__init__(required=False, widget=widget, initial="[]" if kind is list else "{}", **options)
        self.kind = kind

    def parse(self, text: str) -> Any:
        """The list or the object."""
        return read_json(text, self.kind, "this")


class LabelsField(ParsedField):
    """``team=billing, tenant=42``."""

    def parse(self, text: str) -> dict[str, str]:
        """The labels."""
        pairs = [one.partition("=") for one in text.split(",") if one.strip()]
        if bare := [name.strip() for name, sign, _ in pairs if not sign]:
            raise InvalidSchedule(f"{', '.join(bare)} has no value; write team=billing.")
        return dict(labels_of({name.strip(): value.strip() for name, _, value in pairs}, "this"))


def _choice(choices: Mapping[str, str], **options: Any) -> forms.ChoiceField:
    return forms.ChoiceField(choices=[*choices.items()], required=False, **options)


class EntryForm(forms.ModelForm):
    """An entry, to be added or edited."""

    task = forms.CharField(
        max_length=500,
        widget=Suggested(known_tasks),
        help_text="A task that the project knows, or any other by its name.",
    )
    enabled = forms.BooleanField(required=False, initial=True)
    description = forms.CharField(required=False, max_length=1000, widget=forms.Textarea(attrs={"rows": 2, "cols": 60}))
    kind = forms.ChoiceField(
        label="Schedule",
        choices=[*KINDS.items()],
        help_text="Fill in the fields of this kind.",
        widget=forms.Select(attrs={"data-fields": json.dumps(WHEN)}),
    )
    every = forms.IntegerField(required=False, min_value=1)
    period = _choice({name: name for name in PERIODS}, initial="minutes")
    crontab = forms.CharField(
        required=False, max_length=300, help_text="Minute, hour, day of month, month, day of week: 0 7 * * 1-5"
    )
    event = _choice({"": "---------", **{one: one.replace("_", " ") for one in sorted(solar._all_events)}})
    latitude = forms.FloatField(required=False, min_value=-90, max_value=90)
    longitude = forms.FloatField(required=False, min_value=-180, max_value=180)
    rrule = forms.CharField(
        required=False,
        label="Recurrence rule",
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        help_text="DTSTART:20270104T070000 on a line, RRULE:FREQ=MONTHLY;BYDAY=-1FR on the next.",
    )
    at = forms.SplitDateTimeField(required=False, label="Once at", widget=widgets.AdminSplitDateTime)
    timezone = forms.CharField(
        required=False, widget=Suggested(known_zones), help_text="The zone whose wall clock the schedule is read on."
    )
    start = forms.SplitDateTimeField(required=False, widget=widgets.AdminSplitDateTime, help_text="Not before this.")
    end = forms.SplitDateTimeField(
        required=False, label="Expires", widget=widgets.AdminSplitDateTime, help_text="Not after this."
    )
    one_off = forms.BooleanField(required=False, label="One-off task", help_text="Sent once, then kept as finished.")
    args = JsonField(list, label="Positional arguments", help_text='A list in JSON: ["arg1", 2]')
    kwargs = JsonField(dict, label="Keyword arguments", help_text='An object in JSON: {"name": "value"}')
    queue = forms.CharField(required=False, max_length=200)
    exchange = forms.CharField(required=False, max_length=200)
    routing_key = forms.CharField(required=False, max_length=200)
    priority = forms.IntegerField(required=False, min_value=0, max_value=255)
    headers = JsonField(dict)
    expire_seconds = forms.FloatField(
        required=False, min_value=0, help_text="Seconds after which a message that no worker has taken is of no use."
    )
    options = JsonField(dict, label="More options", help_text="Others of apply_async, as an object in JSON.")
    missed = _choice({"once": "the newest, once", "skip": "none that is late beyond grace", "all": "all of them"})
    grace = forms.FloatField(required=False, min_value=0, help_text="Seconds that a slot may be late.")
    jitter = forms.FloatField(required=False, min_value=0, help_text="Seconds that sends are spread over.")
    overlap = _choice(
        {
            "allow": "send all the same",
            "skip": "skip the slot",
            "buffer_one": "send one later",
            "buffer_all": "send all later",
            "cancel_previous": "cancel the run",
        },
        label="While a run is under way",
    )
    max_runs = forms.IntegerField(required=False, min_value=1, help_text="How often it is sent, at most.")
    pause_on_failure = forms.IntegerField(
        required=False, min_value=1, help_text="Pause after so many failed runs in a row."
    )
    not_on = forms.CharField(required=False, help_text="Days on which it is not sent: sat, sun, 12-24..12-26")
    only_on = forms.CharField(required=False, help_text="Days on which alone it is sent.")
    labels = LabelsField(required=False, help_text="team=billing, tenant=42")
    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = PeriodicTask
        fields = ("name",)

    #: What the admin knows of the request: who asks, what was refused before, whether it is a preview.
    actor: str | None = None
    refused: str | None = None
    previewing = False

    def __init__(self, *args: Any, instance: PeriodicTask | None = None, **kwargs: Any) -> None:
        entry = None if instance is None else instance.entry
        if entry is not None:
            kwargs["initial"] = {**values_of(entry), **(kwargs.get("initial") or {})}
        super().__init__(*args, instance=instance, **kwargs)
        self.before = entry
        #: What a preview has found: the slots, and the schedule in words.
        self.slots: list[Any] = []
        self.words = ""
        self._of(entry)

    def _of(self, entry: Entry | None) -> None:
        if entry is None:
            if "timezone" in self.fields:
                self.fields["timezone"].initial = str(celery_app().timezone)
            return
        if "name" in self.fields:
            self.fields["name"].disabled = True
            self.fields["name"].strip = False  # a name may begin with a space
        if "kind" in self.fields and self.initial.get("kind") == "other":
            self.fields["kind"].choices = [("other", str(entry.schedule)), *KINDS.items()]
        if entry.reference or entry.canvas is not None:
            where = "beat_schedule alone has" if entry.reference else "a chain, group or chord has"
            for name in (
                "task",
                "args",
                "kwargs",
                "options",
                "queue",
                "exchange",
                "routing_key",
                "priority",
                "headers",
            ):
                if name in self.fields:
                    self.fields[name].disabled = True
                    self.fields[name].help_text = f"Not to be edited here: {where} it."

    def is_valid(self) -> bool:
        """Whether it may be saved: a preview never is."""
        return bool(super().is_valid()) and not self.previewing

    def validate_unique(self) -> None:
        """Nothing: the schedule itself says so, in the step that adds the entry."""

    def clean(self) -> dict[str, Any]:
        """Check the entry that the fields describe, as far as that needs no Redis."""
        values = dict(super().clean() or self.cleaned_data)
        if self.refused is not None:
            raise forms.ValidationError(self.refused, code="refused")
        if self.errors:
            return values
        try:
            zone(values.get("timezone") or "UTC")
        except InvalidSchedule as exc:
            self.add_error("timezone", sentence(exc))
            return values
        try:
            self._check(values)
        except KeyError as exc:
            self.add_error(exc.args[0], f"{KINDS[values['kind']]} needs this.")
        except RedlockBeatError as exc:
            fields = WHEN.get(values["kind"], ())
            field = fields[0] if fields and isinstance(exc, InvalidSchedule) and "entry " not in str(exc) else None
            self.add_error(field, sentence(exc))
        return values

    def _check(self, values: Mapping[str, Any]) -> None:
        name = values.get("name") or (self.before.name if self.before else "")
        keywords = self.keywords(values)
        made = schedule().operations
        if self.before is None:
            task, when, args, kwargs, options = (keywords.pop(part) for part in _PARTS)
            entry = made.making(name, task, when, args, kwargs, options, keywords)
        else:
            entry = made.changed(self.before, keywords)
        if self.previewing:
            self._preview(entry)

    def _preview(self, entry: Entry) -> None:
        now = micros(schedule().now())
        entry = replace(entry, anchor=entry.anchor or now)
        at = first_slot(entry, now) if self.before is None else next_slot(entry, now)
        self.words = entry.words
        while at is not None and len(self.slots) < SLOTS:
            self.slots.append(moment(at))
            at = next_slot(entry, at)

    def keywords(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What :meth:`Schedule.add` or :meth:`Schedule.update` is to be told: of an edit, what has changed."""
        parts = parts_of(values)
        if self.before is None:
            return {**parts, "when": when_of(values)}
        changed = set(self.changed_data)
        kept = {part: parts[part] for part, fields in _FIELDS.items() if changed & set(fields)}
        if changed & {"kind", *WHEN.get(values["kind"], ())} and values["kind"] != "other":
            kept["when"] = when_of(values)
        if "one_off" in changed:
            kept.update(max_runs=parts["max_runs"], keep=bool(values.get("one_off")))
        return kept


#: What an entry consists of besides its policies.
_PARTS = ("task", "when", "args", "kwargs", "options")
_OPTION_FIELDS = ("queue", "exchange", "routing_key", "priority", "headers", "options")
#: Part of an entry -> the fields that say it.
_FIELDS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("task", "args", "kwargs", "enabled", "labels", *POLICIES)},
    "options": _OPTION_FIELDS,
    "expires": ("expire_seconds", *_OPTION_FIELDS),
    "note": ("description",),
    "exclude": ("not_on",),
    "only": ("only_on",),
    "starts": ("start",),
    "ends": ("end",),
}
