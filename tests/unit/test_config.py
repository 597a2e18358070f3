"""Settings: validated once, with errors that name the setting."""

from __future__ import annotations

import ssl
from types import SimpleNamespace

import pytest
from celery import Celery

from redlock_beat.errors import InvalidSetting
from redlock_beat.settings import is_redis_url, settings_of
from redlock_beat.store.client import Target


def app_of(broker="redis://localhost/0", **conf):
    app = Celery("x", broker=broker, set_as_current=False)
    app.conf.update(conf)
    return app


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("lease_ttl", ["5", 0.1, True, 500]),
        ("render_limit", [1]),
        ("ledger_size", [-1, 1.5]),
        ("outbox_limit", [0]),
        ("catchup_limit", [0]),
        ("socket_timeout", [0]),
        ("prefix", ["", "a{b}", 7]),
        ("config_version", ["1", -1]),
        ("redis_options", [[1], {1: 2}]),
        ("url", [5, "http://x", "redis://a...b/0", "redis://h:port/0"]),
        ("policies", [["a"], {1: {}}]),
        ("calendars", [["sat"], {1: ["sat"]}]),
        ("pings", [["a"], {1: "http://x"}, {"": "http://x"}]),
        ("statsd", [8125]),
        ("statsd_prefix", ["a b", "x" * 101]),
        ("statsd_tags", ["env:prod", [1], [""], ["a"] * 21]),
    ],
)
def test_a_wrong_value_names_the_setting(name, values):
    for value in values:
        with pytest.raises(InvalidSetting, match=f"redlock_beat_{name}"):
            settings_of(app_of(**{f"redlock_beat_{name}": value}))


def test_a_wrong_value_that_is_a_secret_is_not_shown():
    with pytest.raises(InvalidSetting, match=r"redlock_beat_pings is a str, but must be") as raised:
        settings_of(app_of(redlock_beat_pings="https://host/0a1b"))
    assert "0a1b" not in str(raised.value)


def test_an_unknown_setting_is_refused_with_a_hint():
    with pytest.raises(InvalidSetting, match=r"Did you mean redlock_beat_lease_ttl\?"):
        settings_of(app_of(redlock_beat_lease_tll=5))


@pytest.mark.parametrize("name", ["cache_size", "batch_size", "retry_pause"])
def test_a_setting_that_is_gone_is_refused_and_the_error_says_why(name):
    with pytest.raises(
        InvalidSetting, match=f"redlock_beat_{name} is not a setting of redlock_beat any more: .+ Remove it"
    ):
        settings_of(app_of(**{f"redlock_beat_{name}": 1}))


def test_the_url_defaults_to_the_brokers_when_that_is_a_redis():
    assert settings_of(app_of("redis://h:1/2")).url == "redis://h:1/2"
    assert settings_of(app_of("amqp://", redlock_beat_url="redis://h/1")).url == "redis://h/1"
    with pytest.raises(InvalidSetting, match="redlock_beat_url is not set"):
        settings_of(app_of("amqp://u:secret@h//"))


def test_a_django_namespace_is_understood():
    app = Celery("x", set_as_current=False)
    settings = {
        "CELERY_BROKER_URL": "redis://h:1/0",
        "CELERY_REDLOCK_BEAT_URL": "redis://h:2/0",
        "CELERY_REDLOCK_BEAT_LEASE_TTL": 3,
        "CELERY_REDLOCK_BEAT_POLICIES": {"a": {"missed": "skip"}},
    }
    app.config_from_object(SimpleNamespace(**settings), namespace="CELERY")
    found = settings_of(app)
    assert (found.url, found.lease_ttl) == ("redis://h:2/0", 3)
    app = Celery("y", set_as_current=False)
    app.config_from_object(SimpleNamespace(**settings, CELERY_REDLOCK_BEAT_TTL=3), namespace="CELERY")
    with pytest.raises(InvalidSetting, match="CELERY_REDLOCK_BEAT_TTL"):
        settings_of(app)


def test_only_what_says_how_to_reach_the_server_is_taken_from_the_broker():
    options = {"visibility_timeout": 3600, "master_name": "m", "sentinel_kwargs": {"password": "p"}}
    settings = settings_of(app_of("sentinel://a:1;sentinel://b:2", broker_transport_options=options))
    assert settings.redis_options == {"master_name": "m", "sentinel_kwargs": {"password": "p"}}
    assert "visibility_timeout" not in Target(settings).options
    tls = {"ssl_cert_reqs": ssl.CERT_NONE}
    settings = settings_of(app_of("redis://h/0", broker_use_ssl=tls))
    assert Target(settings).options["ssl"] is True
    assert Target(settings).options["ssl_cert_reqs"] == "none"


def test_redis_urls():
    assert [is_redis_url(u) for u in ("redis://", "rediss://h", "sentinel://a;b", "amqp://h", None, "x")] == [
        True
    ] * 3 + [False] * 3


def test_the_application_is_the_apps_name_unless_a_script_or_a_setting_says_otherwise():
    def application(main, **conf):
        app = Celery(main, broker="redis://localhost", set_as_current=False)
        app.conf.update(conf)
        return settings_of(app).application

    assert application("proj") == "proj"
    assert application(None) == application("__main__") == ""
    assert application("proj", redlock_beat_application="other") == "other"
    assert application("proj", redlock_beat_application="") == ""
