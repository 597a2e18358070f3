"""Settings: validated once, with errors that name the setting."""

from __future__ import annotations

import ssl
from types import SimpleNamespace

import pytest
from celery import Celery

from redlock_beat.errors import InvalidSetting, mask
from redlock_beat.settings import Settings, is_redis_url, settings_of
from redlock_beat.store.client import Pauses, Target


def app_of(broker="redis://localhost/0", **conf):
    app = Celery("x", broker=broker, set_as_current=False)
    app.conf.update(conf)
    return app


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_ttl", "5"), ("lease_ttl", 0.1), ("lease_ttl", True), ("lease_ttl", 500), ("render_limit", 1),
        ("ledger_size", -1), ("ledger_size", 1.5), ("outbox_limit", 0), ("catchup_limit", 0), ("cache_size", -1),
        ("batch_size", 0), ("batch_size", 5000), ("socket_timeout", 0), ("prefix", ""), ("prefix", "a{b}"), ("prefix", 7),
        ("config_version", "1"), ("config_version", -1), ("redis_options", [1]), ("redis_options", {1: 2}), ("url", 5),
        ("url", "http://x"), ("retry_pause", 0), ("policies", ["a"]), ("policies", {1: {}}),
    ],
)  # fmt: skip
def test_a_wrong_value_names_the_setting(name, value):
    with pytest.raises(InvalidSetting, match=f"redlock_beat_{name}"):
        settings_of(app_of(**{f"redlock_beat_{name}": value}))


def test_an_unknown_setting_is_refused_with_a_hint():
    with pytest.raises(InvalidSetting, match=r"Did you mean redlock_beat_lease_ttl\?"):
        settings_of(app_of(redlock_beat_lease_tll=5))


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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://u:p%40@h:7/3", {"host": "h", "port": 7, "db": 3, "username": "u", "password": "p@"}),
        ("redis://h", {"host": "h", "port": 6379}),
        (
            "rediss://h/0?ssl_cert_reqs=CERT_OPTIONAL&ssl_check_hostname=false",
            {"ssl": True, "ssl_cert_reqs": "optional", "ssl_check_hostname": False},
        ),
        ("unix:///run/redis.sock?db=2", {"unix_socket_path": "/run/redis.sock", "db": 2}),
        (
            "redis+socket:///run/redis.sock?virtual_host=4&password=x",
            {"unix_socket_path": "/run/redis.sock", "db": 4, "password": "x"},
        ),
    ],
)
def test_urls(url, expected):
    options = Target(Settings(url=url)).options
    assert {key: options[key] for key in expected} == expected
    assert options["socket_timeout"] > 0
    assert options["retry"]._retries == 0


def test_bad_urls_and_options_are_clear():
    for url in ("redis://h/x", "redis://h:port/0"):
        with pytest.raises(InvalidSetting, match="not a number"):
            Target(Settings(url=url))
    with pytest.raises(InvalidSetting, match="master_name"):
        Target(Settings(url="sentinel://h")).client()
    with pytest.raises(InvalidSetting, match="redis_options"):
        Target(Settings(url="redis://h", redis_options={"nonsense": 1})).client()


def test_an_unknown_option_in_the_url_is_left_out_with_a_warning(caplog):
    Target(Settings(url="redis://h/0?visibility_timeout=5"))
    assert "visibility_timeout" in caplog.text


def test_sentinels_and_clusters_have_clients():
    target = Target(Settings(url="sentinel://:p@a:1;sentinel://b", redis_options={"master_name": "m"}))
    assert [
        s.connection_pool.connection_kwargs["port"] for s in target.client().connection_pool.sentinel_manager.sentinels
    ] == [1, 26379]
    assert Target(Settings(url="redis+cluster://h:1")).cluster


def test_what_one_of_several_urls_says_holds_for_all():
    for url in (
        "sentinel://:p@a:1/2?master_name=m;sentinel://b",
        "sentinel://a:1;:p@b/2?master_name=m",
        "valkey+sentinel://a:1;b;/2?master_name=n;c",
    ):
        target = Target(Settings(url=url))
        assert target.options["master_name"] in "mn"
        assert target.db == 2
        assert target._addresses(26379)[:2] == [("a", 1), ("b", 26379)]
        assert target.options.get("password") == ("p" if ":p@" in url else None)
    cluster = Target(Settings(url="redis+cluster://u:p@a:1;redis+cluster://b:2?client_name=x"))
    assert cluster._addresses(6379) == [("a", 1), ("b", 2)]
    assert (cluster.options["password"], cluster.options["client_name"]) == ("p", "x")
    # Of a broker's URLs that are tried one after the other, the first is the schedule's.
    assert Target(Settings(url="redis://a:1/3;redis://b:2/4")).db == 3


def test_a_valkey_may_be_called_so():
    assert Target(Settings(url="valkey://h:1/2")).db == 2
    assert Target(Settings(url="valkeys://h")).options["ssl"] is True
    assert Target(Settings(url="valkey+cluster://h")).cluster
    assert is_redis_url("valkey://h")
    with pytest.raises(InvalidSetting, match="valkey://"):
        Settings(url="amqp://h")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("redis://:s3cret@h/0", "redis://:***@h/0"),
        ("x amqp://u:s3c:ret@h// and redis://u:s3cret@k", "x amqp://u:***@h// and redis://u:***@k"),
        ("redis+socket:///x?password=s3cret&db=1", "redis+socket:///x?password=***&db=1"),
        ("redis://h/0", "redis://h/0"),
        ("redis://u:p@ss@h/0", "redis://u:***@h/0"),
    ],
)
def test_passwords_are_masked(text, hidden):
    assert mask(text) == hidden


def test_redis_urls():
    assert [is_redis_url(u) for u in ("redis://", "rediss://h", "sentinel://a;b", "amqp://h", None, "x")] == [
        True
    ] * 3 + [False] * 3


def test_pauses_grow_and_are_bounded():
    pauses = Pauses(1.0)
    found = [pauses.next() for _ in range(50)]
    assert found[0] < 0.2
    assert max(found) <= 1.0
    assert found[-1] > 0.5
    pauses.reset()
    assert pauses.next() < 0.2


def test_the_application_is_the_apps_name_unless_a_script_or_a_setting_says_otherwise():
    def application(main, **conf):
        app = Celery(main, broker="redis://localhost", set_as_current=False)
        app.conf.update(conf)
        return settings_of(app).application

    assert application("proj") == "proj"
    assert application(None) == application("__main__") == ""
    assert application("proj", redlock_beat_application="other") == "other"
    assert application("proj", redlock_beat_application="") == ""
