"""Django's system checks of the settings, each with an id and a hint."""

from __future__ import annotations

import pytest
from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.checks import run_checks

from redlock_beat.django.checks import check


@pytest.fixture
def found(configured, monkeypatch):
    """The messages of the checks under other settings."""

    def under(**conf):
        for name, value in conf.items():
            if name.isupper():
                monkeypatch.setattr(settings, name, value, raising=False)
            else:
                configured(**{name: value})
        messages = check()
        assert all(one.hint for one in messages)
        return {one.id.partition(".")[2]: one.msg for one in messages}

    return under


def test_a_sound_project_has_nothing_to_say(found):
    assert found() == {}
    assert run_checks(tags=["redlock_beat"]) == []
    assert check([apps.get_app_config("admin")]) == []


def test_no_app(found):
    assert "cannot be imported" in found(CELERY_REDLOCK_BEAT_APP="gone:app")["E001"]


def test_a_wrong_setting_is_named_as_the_project_spells_it(found):
    assert "CELERY_REDLOCK_BEAT_LEASE_TTL is 'x'" in found(redlock_beat_lease_ttl="x")["E002"]


def test_an_unknown_setting(found):
    assert "Did you mean CELERY_REDLOCK_BEAT_PREFIX?" in found(redlock_beat_prefixx="x")["E002"]


def test_no_redis_at_all(found):
    assert "CELERY_REDLOCK_BEAT_URL is not set" in found(broker_url="amqp://")["E002"]


@pytest.mark.parametrize("url", ["default", "locmem://", "django://"])
def test_a_cache_in_place_of_redis(found, url):
    assert "is a cache of Django's" in found(redlock_beat_url=url)["E003"]


def test_several_apps(found, monkeypatch):
    other = Celery("other", set_as_current=False)
    other.config_from_object("django.conf:settings", namespace="CELERY")
    monkeypatch.delattr(settings, "CELERY_REDLOCK_BEAT_APP")
    assert "2 Celery apps read Django's settings (other, shopfront)" in found()["W004"]
    other.close()


REDIS = "django.core.cache.backends.redis.RedisCache"


@pytest.mark.parametrize(
    ("url", "cache", "same"),
    [
        ("redis://localhost:6379/0", {"LOCATION": "redis://127.0.0.1:6379"}, True),
        ("redis://localhost/2", {"LOCATION": ["redis://other/2", "redis://localhost:6379/2"]}, True),
        ("redis://localhost/2", {"LOCATION": "redis://localhost", "OPTIONS": {"db": "2"}}, True),
        ("unix:///run/redis.sock?db=1", {"LOCATION": "unix:///run/redis.sock?db=1"}, True),
        ("redis://localhost:6379/0", {"LOCATION": "redis://127.0.0.1:6379/1"}, False),
        ("redis://localhost:6379/0", {"LOCATION": "unique-snowflake"}, False),
        ("redis+cluster://localhost:6379", {"LOCATION": "redis://localhost:6379"}, False),
    ],
)
def test_a_cache_beside_the_schedule(found, url, cache, same):
    messages = found(redlock_beat_url=url, CACHES={"default": {"BACKEND": REDIS, **cache}})
    assert ("W005" in messages) is same
    assert set(messages) <= {"W005"}


@pytest.mark.parametrize(
    ("scheduler", "verb"),
    [
        ("django_celery_beat.schedulers:DatabaseScheduler", "import-django-celery-beat"),
        ("django", "import-django-celery-beat"),
        ("redbeat.RedBeatScheduler", "import-redbeat"),
    ],
)
def test_another_scheduler(found, scheduler, verb):
    assert "CELERY_BEAT_SCHEDULER is" in found(beat_scheduler=scheduler)["W006"]
    assert f"`manage.py redlock {verb}`" in next(one.hint for one in check())


def test_commands(found):
    clash = {"clearsessions": {"task": "mine", "schedule": 7}}
    messages = found(redlock_beat_commands={"gone": {}, "clearsessions": {"schedule": 60.0}}, beat_schedule=clash)
    assert "no management command" in messages["E007"]
    assert "has an entry of that name, too" in messages["E008"]
