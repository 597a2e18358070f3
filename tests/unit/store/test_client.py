"""URLs and options, and the pauses between attempts."""

from __future__ import annotations

import pytest
import redis

from redlock_beat.errors import InvalidSetting
from redlock_beat.settings import Settings, is_redis_url
from redlock_beat.store.client import Pauses, Target


def fail():
    raise redis.ConnectionError("the answer is lost")


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
    tries: list[int] = []
    with pytest.raises(redis.ConnectionError):
        options["retry"].call_with_retry(lambda: tries.append(1) or fail(), lambda error: None)
    assert len(tries) == 1  # a command whose answer is lost is not repeated


def test_bad_urls_and_options_are_clear():
    for url, says in (("redis://h/x", "not a number"), ("redis://h:port/0", "host or port is not valid")):
        with pytest.raises(InvalidSetting, match=says):
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
        assert target.addresses(26379)[:2] == [("a", 1), ("b", 26379)]
        assert target.options.get("password") == ("p" if ":p@" in url else None)
    cluster = Target(Settings(url="redis+cluster://u:p@a:1;redis+cluster://b:2?client_name=x"))
    assert cluster.addresses(6379) == [("a", 1), ("b", 2)]
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


def test_pauses_grow_and_are_bounded():
    pauses = Pauses(1.0)
    found = [pauses.next() for _ in range(50)]
    assert found[0] < 0.2
    assert max(found) <= 1.0
    assert found[-1] > 0.5
    pauses.reset()
    assert pauses.next() < 0.2
