"""What the configuration last said: many names in few fields."""

from __future__ import annotations

import pytest

from redlock_beat import Schedule
from redlock_beat.settings import Settings
from redlock_beat.store.client import Target
from redlock_beat.store.digests import digest_field, digest_page, digests
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from redlock_beat.store.values import ANY, DROP, Edit
from tests.beats import make_app

K = Keys("redlock-beat")
#: Names that look like the text around them, and one that is like the end of another.
ODD = ("a", 'x"a', ',"a":"1', "a\nb\\", "a/b", "日本 🎉", "\x00", "%d.*")


@pytest.fixture
def store(server):
    store = Store(Target(Settings(url=server.url())))
    yield store
    store.close()


def say(store, digest, names):
    store.edit([Edit(name, ANY, configured=digest) for name in names])


def test_digests_of_any_names_are_written_replaced_and_removed(store, monkeypatch):
    # All of them in one field, as a million names would be.
    source = store.client.register_script
    monkeypatch.setattr(
        store.client,
        "register_script",
        lambda text: source(text.replace("sub(redis.sha1hex(name), 1, 3)", "sub('0', 1, 1)")),
    )
    say(store, "1a", ODD)
    assert store.client.hlen(K.digests) == 1
    assert store.configured() == dict.fromkeys(ODD, "1a")
    say(store, "2b", ODD[1:])
    assert store.configured() == {**dict.fromkeys(ODD, "2b"), "a": "1a"}
    say(store, DROP, ODD[1:])
    assert store.configured() == {"a": "1a"}
    say(store, DROP, ["a", "never"])
    assert not store.client.exists(K.digests)


def test_the_field_of_a_name_is_the_one_that_the_script_takes(store):
    say(store, "1a", ODD)
    assert set(store.client.hkeys(K.digests)) == set(map(digest_field, ODD))
    assert store.configured([*ODD, "other"]) == dict.fromkeys(ODD, "1a")
    assert store.configured([]) == {}


def test_what_releases_before_wrote_is_read_until_it_is_written_anew(store):
    store.client.hset(K.configured, mapping={"a": "1a", "b": "1b", "c": "1c"})
    assert store.configured() == {"a": "1a", "b": "1b", "c": "1c"} == store.configured(["a", "b", "c"])
    say(store, "2a", ["a"])
    say(store, DROP, ["b"])
    assert store.configured() == {"a": "2a", "c": "1c"} == store.configured(["a", "b", "c"])
    assert store.client.hgetall(K.configured) == {"c": "1c"}


def test_rubbish_among_the_digests_is_no_digest_and_is_written_over(store):
    store.client.hset(K.digests, digest_field("a"), ',"a":"1')
    store.client.hset(K.digests, "xyz", "[]")
    assert store.configured() == {} == store.configured(["a"])
    say(store, "2a", ["a"])
    assert store.configured(["a"]) == {"a": "2a"}


def test_thousands_are_read_in_pages(store):
    names = [f"e{i}" for i in range(3_000)]
    for i in range(0, len(names), 500):
        say(store, "1a", names[i : i + 500])
    assert store.configured() == dict.fromkeys(names, "1a")
    _, page = store.run(digest_page(K, "0"))
    assert 0 < len(page) < 500
    assert store.run(digests(K, names[:3])) == dict.fromkeys(names[:3], "1a")


def test_a_beat_goes_on_from_what_releases_before_wrote(valkey, beats):
    entries = {name: {"task": "tasks.add", "schedule": 3600.0} for name in ("a", "b", "c")}
    beats(valkey, entries).lead().close()
    client, schedule = valkey.client(), Schedule(make_app(valkey.url()))
    old = schedule.ask(digests(K, list(entries)))
    client.hset(K.configured, mapping=old)  # as they were written
    client.delete(K.digests)
    client.set(K.config, ":otherwise")
    schedule.update("a", args=(1,))
    schedule.remove("b")
    beats(valkey, entries).lead().close()
    assert schedule["a"].args == (1,)
    assert "b" not in schedule
    assert schedule.ask(digests(K, list(entries))) == old
    entries["a"]["args"] = (2,)
    del entries["c"]
    beats(valkey, entries).lead().close()
    assert schedule["a"].args == (2,)
    assert "c" not in schedule
    assert client.hgetall(K.configured) == {"b": old["b"]}
