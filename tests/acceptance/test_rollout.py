"""A roll-out on Kubernetes, played with processes as the manifests order it, loses and repeats nothing."""

from __future__ import annotations

import re
import signal
from collections import defaultdict

import pytest
import yaml

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from redlock_beat.store.values import Held
from tests.beats import ROOT, duplicates, ledger
from tests.pods import Deployment, isolated
from tests.servers import eventually

K = Keys("redlock-beat")
ENTRIES = [f"entry-{number}" for number in range(10)]


@pytest.fixture
def server(own_server):
    """A Redis that keeps all that it has said yes to."""
    return own_server("valkey", "--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def deployment(server, tmp_path):
    """The beats of the plain manifests, with the app of the example for Compose."""
    project = (ROOT / "examples" / "compose" / "proj.py").read_text("utf-8")
    # Here all pods have one address.
    (tmp_path / "proj.py").write_text(project.replace("metrics_port = 9540", "metrics_port = 0"))
    [manifest] = [
        one
        for one in yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "beat.yaml").read_text("utf-8"))
        if one["kind"] == "Deployment"
    ]
    made = Deployment(manifest, tmp_path, url=server.url())
    yield made
    made.close()


def leader_of(server, deployment):
    """The pod that leads, by what the lease says; None when nobody does."""
    held = Held.parse(server.client().get(K.lease) or "")
    if held is None:
        return None
    owner, pid = held.owner.rsplit(":", 1)
    pods = [pod for pod in deployment.pods if pod.alive]
    return next((pod for pod in pods if (pod.name == owner if isolated() else pod.pid == int(pid))), None)


@pytest.mark.timeout(600)
def test_a_roll_out_loses_and_repeats_nothing_whatever_happens_in_it(server, deployment):
    client, schedule = server.client(), Schedule.from_url(server.url())
    for name in ENTRIES:
        schedule.add(name, "proj.tick", 1.0, missed="all")

    def leader():
        return leader_of(server, deployment)

    def leads(after=0):
        """The pod that leads a term after this one."""
        return deployment.until(lambda: epoch_of(client) > after and leader(), "another leads")

    assert deployment.least == 3, "at all times, says the guide"
    deployment.until(lambda: deployment.done, "three beats are ready")
    one, first = leads(), epoch_of(client)
    looked_at = one.exec(["sh", "-c", "id -u; env | grep -c '^HOME='; touch /etc/x /var/tmp/x 2>&1; ls /tmp"])
    if isolated():
        assert looked_at.stdout.split("\n")[:2] == ["10001", "0"], looked_at.stdout
        assert looked_at.stdout.count("Read-only file system") == 2, looked_at.stdout
        assert one.exec(["cat", "/proc/1/comm"]).stdout.strip() == "celery"

    # The leader is the first to go, and gives its term back; the next one is killed before it is its turn.
    deployment.first = lambda pod: pod is not leader()
    deployment.roll_out()
    deployment.sync()
    early = deployment.pods[-1]
    early.delete()  # overtaken by another roll-out while it starts: Celery has no handler for SIGTERM yet
    deployment.until(lambda: not early.alive, "it ends")
    deployment.until(lambda: one.deleted_at is not None, "the leader is told to end")
    killed = leads(after=first)
    assert deployment.fewest >= deployment.least
    lost = {epoch_of(client)}
    killed.kill()
    leads(after=max(lost))
    deployment.until(lambda: len(deployment.ready()) >= deployment.least, "its container runs again")
    assert sum(pod.restarts for pod in deployment.pods) == 1

    # Redis goes and comes back: no pod is restarted for that, and no pod that works is replaced.
    lost.add(epoch_of(client))
    server.stop(signal.SIGTERM)
    deployment.until(lambda: not any(pod.ready for pod in deployment.current()), "no beat is ready")
    current = deployment.current()
    assert [pod.ask("livenessProbe") for pod in current] == [True] * len(current)
    assert deployment.current() == current
    assert sum(pod.restarts for pod in deployment.pods) == 1
    server.start()
    leads()
    deployment.until(lambda: len(deployment.ready()) >= deployment.least, "the beats reach Redis")
    deployment.fewest = len(deployment.ready())
    deployment.until(lambda: deployment.done, "the roll-out ends")
    assert deployment.fewest >= deployment.least
    assert {pod.revision for pod in deployment.current()} == {2}
    assert sum(pod.restarts for pod in deployment.pods) == 1
    eventually(lambda: client.zcount(K.due, "-inf", schedule.now().timestamp() - 1) == 0, "it catches up")
    for pod in deployment.pods:
        waited_in_vain = pod is early and pod.pre_stop.stderr.count("No such file") >= 50  # this machine is that slow
        assert pod.deleted_at is None or pod.process.returncode == 0 or waited_in_vain, f"{pod.name} heard no SIGTERM"
    schedule.hold()  # so that it can be counted
    everything_is_there_once(client)
    terms_are_handed_over(deployment, first, {*lost, epoch_of(client)})


def epoch_of(client):
    return int(client.get(K.epoch))


def everything_is_there_once(client):
    rows = [row for row in ledger(client) if row["entry"] in ENTRIES]
    assert {row["is"] for row in rows} == {"sent"}, [row for row in rows if row["is"] != "sent"]
    assert duplicates(client) == 0
    slots = defaultdict(list)
    for row in rows:
        slots[row["entry"]].append(round(float(row["nominal"]) / 1e6))
    for name in ENTRIES:
        assert slots[name] == list(range(slots[name][0], slots[name][0] + len(slots[name]))), name
        assert len(slots[name]) > 3
    assert client.llen("celery") == len(ledger(client, "sent"))


def terms_are_handed_over(deployment, first, others):
    """The first term and each later one but *others* ended because its beat gave it back, and not because its time was up."""
    begun = {int(term) for pod in deployment.pods for term in re.findall(r"is leader, term (\d+)", pod.said())}
    given = {int(term) for pod in deployment.pods for term in re.findall(r"Term (\d+) is released", pod.said())}
    assert first in given
    assert begun - given <= others
