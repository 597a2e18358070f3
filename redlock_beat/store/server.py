"""What the schedule's server lets its user do, and what it keeps: for the doctor."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from .client import TROUBLE, node_of
from .store import Store

_COMMANDS = """
    TIME; INFO server; GET {}; GETDEL {}; SET {} 1 PX 1000; PEXPIRE {} 1000; PTTL {}; DEL {}; INCR {}; DEL {};
    HSET {} a 1; HGET {} a; HMGET {} a; HSTRLEN {} a; HEXISTS {} a; HLEN {}; HGETALL {}; HSCAN {} 0; HRANDFIELD {} 1;
    HINCRBY {} a 1; HDEL {} a; DEL {};
    ZADD {} 1 a; ZCARD {}; ZSCAN {} 0; ZSCORE {} a; ZMSCORE {} a; ZCOUNT {} 0 1; ZRANGE {} 0 0;
    ZRANGEBYSCORE {} 0 1; ZREM {} a; ZREMRANGEBYSCORE {} 0 1; ZREMRANGEBYRANK {} 0 0; DEL {};
    XADD {} MAXLEN ~ 10 * a 1; XRANGE {} - +; XREVRANGE {} + -; XTRIM {} MAXLEN ~ 10; XREAD STREAMS {} 0; DEL {};
    LPUSH {} a; LREM {} 1 a; DEL {};
    PUBLISH {channel} doctor; PUBSUB NUMSUB {channel}; EVAL "return 1" 0; EVALSHA 0000 0; SCRIPT LOAD "return 1"
"""
#: Every command that is used on the schedule's Redis, with arguments that do no harm. ``{}`` is a key of the
#: schedule's, used by nothing else; ``{channel}`` one of its channels.
COMMANDS = tuple(tuple(shlex.split(one)) for one in _COMMANDS.split(";"))
#: Commands that are used and cannot be tried as the others.
UNTRIED = ("SUBSCRIBE", "UNSUBSCRIBE", "PING", "SELECT", "CLIENT")
#: What is used besides on a cluster, and those for sharded pub/sub, which Redis 6.2 does not have.
_CLUSTER = (("CLUSTER", "SLOTS"), ("COMMAND", "INFO", "GET"))
_SHARDED = (("SPUBLISH", "{channel}", "doctor"), ("PUBSUB", "SHARDNUMSUB", "{channel}"))
_UNTRIED_CLUSTER, _UNTRIED_SHARDED = ("ASKING", "READONLY"), ("SSUBSCRIBE", "SUNSUBSCRIBE")
#: What kombu uses besides, where the same user sends to queues of this server.
_BROKER = ("LLEN", "MULTI", "EXEC", "SADD", "SMEMBERS", "LPUSH", "PEXPIRE", "PUBLISH")


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the user of the schedule's Redis may do."""

    #: The commands that are refused.
    refused: Sequence[str]
    #: Whether sharded pub/sub is used: on a cluster, from Redis 7 on.
    sharded: bool


def permissions(store: Store) -> Permissions:
    """Try every command that beat uses, on a key that nothing else uses."""
    key = store.keys.request(f"doctor-{secrets.token_hex(6)}")
    channel = store.keys.beat("doctor")
    sharded = store.target.cluster
    node = node_of(store.client, key)
    refused: dict[str, None] = {}
    for words in (*COMMANDS, *(_CLUSTER + _SHARDED if store.target.cluster else ())):
        try:
            node.execute_command(*(word.replace("{}", key).replace("{channel}", channel) for word in words))
        except TROUBLE as exc:
            text = str(exc).lower()
            if words in _SHARDED and "unknown" in text:
                sharded = False  # Redis 6.2: the other kind is used there
            elif "noperm" in text or "no permissions" in text or "unknown command" in text:
                refused[words[0]] = None
    return Permissions(tuple(refused), sharded)


def keeps_every_change(store: Store) -> bool:
    """Whether the append-only file is on: without it, a restart forgets what came since the last snapshot."""
    return bool(int(node_of(store.client, store.keys.lease).info("persistence").get("aof_enabled", 0)))


def minimal_rule(prefix: str, queues: Sequence[str] = (), *, cluster: bool = False, sharded: bool = False) -> str:
    """The smallest ACL rule for a user of the schedule's Redis, who also sends to *queues*.

    A *cluster* needs more, and so does *sharded* pub/sub (from Redis 7 on).

    >>> minimal_rule("redlock-beat").split()[:2]
    ['resetchannels', '~{redlock-beat}:*']
    """
    used = {one[0].lower() for one in COMMANDS if one[0] not in ("SCRIPT", "PUBSUB")}
    used.update(("script|load", "pubsub|numsub"), (one.lower() for one in UNTRIED))
    if cluster:
        used.update(one.lower() for one in ("CLUSTER", "COMMAND", *_UNTRIED_CLUSTER))
    if sharded:
        used.update(one.lower() for one in ("SPUBLISH", "PUBSUB|SHARDNUMSUB", *_UNTRIED_SHARDED))
    keys = [f"~{{{prefix}}}:*"]
    if queues:
        used.update(one.lower() for one in _BROKER)
        keys += ["~_kombu.binding.*", *(f"~{queue}*" for queue in queues)]  # a priority is part of the key's name
    return " ".join(["resetchannels", *keys, f"&{{{prefix}}}:*", *(f"+{one}" for one in sorted(used))])
