"""A Deployment played with processes: what kubelet and the controller of Deployments do with a manifest, and no more.

Where this user may (root on Linux, as a rule), each container has namespaces of its own: its command is process 1, its
user is that of the manifest and has no line in /etc/passwd, its host name is that of the pod, and its file system is
read-only but for the volume at /tmp. Elsewhere it is a plain process with a folder of its own for /tmp.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .beats import ROOT
from .servers import eventually

#: What prepares a container: its volume at /tmp, and below that what it needs of this machine; all else is read-only.
ENTER = """
set -e
name=$1 tmp=$2 user=$3 group=$4 keep=$5; shift 5
hostname "$name"
mount --make-rprivate /
mount -t proc proc /proc
for path in $keep; do
  case $path in /tmp/*) mkdir -p "$tmp/${path#/tmp/}"; mount --bind "$path" "$tmp/${path#/tmp/}";; esac
done
mount --rbind "$tmp" /tmp
cut -d ' ' -f 2 /proc/self/mounts | while read -r at; do
  case $at in
    /tmp|/proc|/proc/*|/dev|/dev/*|/sys|/sys/*) ;;
    *) mount -o remount,ro,bind "$at" 2> /dev/null || true;; # what is mounted below another is not to be seen
  esac
done
exec unshare --user --map-user="$user" --map-group="$group" -- "$@"
"""


@functools.cache
def isolated() -> bool:
    """Whether containers can have namespaces here, and a file system that is read-only."""
    with tempfile.TemporaryDirectory() as folder:
        command = container("try", Path(folder), {"runAsUser": 10001, "runAsGroup": 10001}, [])
        try:
            done = subprocess.run([*command, "touch", "/etc/hostname"], capture_output=True, text=True, timeout=20)
        except OSError:
            return False
        return "Read-only file system" in done.stderr


def container(name: str, tmp: Path, user: dict[str, int], keep: list[str]) -> list[str]:
    """What makes a container of the command that follows it; *keep* is what it sees of this machine below /tmp."""
    within = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "enter"]
    return [*within, name, str(tmp), str(user["runAsUser"]), str(user["runAsGroup"]), " ".join(dict.fromkeys(keep))]


class Pod:
    """One pod of a Deployment with one container. *folder* has the app, *secrets* the values of its secrets."""

    def __init__(self, name: str, revision: int, spec: dict[str, Any], folder: Path, secrets: dict[str, str]) -> None:
        self.name, self.revision, self.spec, self.folder, self.secrets = name, revision, spec, folder, secrets
        [self.container] = spec["containers"]
        [volume] = spec["volumes"]
        assert "emptyDir" in volume
        assert self.container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]
        self.tmp = folder / "volumes" / name
        self.tmp.mkdir(parents=True)
        self.log = folder / f"{name}.log"
        self.restarts = -1
        self.deleted_at: float | None = None
        self.pre_stop: subprocess.CompletedProcess[str] | None = None
        self._run()

    # --- the container ---

    def _run(self) -> None:
        """Start the container, first or anew: the volume stays."""
        self.restarts += 1
        self.started = self.ready = False
        self._asked = dict.fromkeys(self._probes(), time.monotonic())
        self._failed = dict.fromkeys(self._probes(), 0)
        command = ["env", "-i", *self._env(), *self.container["command"]]
        if isolated():
            assert self.container["securityContext"]["readOnlyRootFilesystem"]
            keep = [sys.prefix, sys.base_prefix, str(ROOT), str(self.folder)]
            command = [*container(self.name, self.tmp, self.spec["securityContext"], keep), *command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid = self.process.pid
        if isolated():
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
            user = "/proc/{}/ns/user"
            try:
                self.pid = int(eventually(lambda: children.read_text().split(), "the container is made")[0])
                own = os.readlink(user.format("self"))
                eventually(lambda: os.readlink(user.format(self.pid)) != own, "it is prepared")
            except BaseException:
                self.process.kill()  # and with it its child
                raise

    def _env(self) -> list[str]:
        """The environment of the image and of the manifest, and nothing else: no HOME."""
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        found = {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        for one in self.container["env"]:
            found[one["name"]] = (
                one["value"] if "value" in one else self.secrets[one["valueFrom"]["secretKeyRef"]["key"]]
            )
        if not isolated():
            found["TMPDIR"] = str(self.tmp)
        return [f"{name}={value}" for name, value in found.items()]

    def exec(self, command: list[str], seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        if isolated():
            enter = ["nsenter", "-t", str(self.pid), "-m", "-u", "-p", "-U", "--preserve-credentials", "--wd=/"]
            command = [*enter, "env", "-i", *self._env(), *command]
        else:
            command = ["env", "-i", *self._env(), *(word.replace("/tmp/", f"{self.tmp}/") for word in command)]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    # --- kubelet ---

    def _probes(self) -> list[str]:
        return [kind for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in self.container]

    def ask(self, kind: str) -> bool:
        """What a probe says now."""
        probe = self.container[kind]
        assert {"exec", "periodSeconds", "timeoutSeconds", "failureThreshold"} == probe.keys()
        try:
            return self.exec(probe["exec"]["command"]).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def sync(self) -> None:
        """What kubelet does about this pod now."""
        if self.deleted_at is not None:
            if self.alive and time.monotonic() > self.deleted_at + self.spec["terminationGracePeriodSeconds"]:
                self.kill()
            return
        if not self.alive:
            self._run()
            return
        for kind in self._probes():
            if (kind == "startupProbe") == self.started:
                continue  # until it has started no other is asked, then this one no more
            if time.monotonic() >= self._asked[kind] + self.container[kind]["periodSeconds"]:
                self._asked[kind] = time.monotonic()
                self._heard(kind, self.ask(kind))

    def _heard(self, kind: str, well: bool) -> None:
        self._failed[kind] = 0 if well else self._failed[kind] + 1
        failed = self._failed[kind] >= self.container[kind]["failureThreshold"]
        if kind == "startupProbe" and well:
            self.started = True
            self._heard("readinessProbe", self.ask("readinessProbe"))  # kubelet asks at once, too
        elif kind == "readinessProbe":
            self.ready = well or (self.ready and not failed)
        elif failed:
            self.terminate()
            self.process.wait(60)

    def delete(self) -> None:
        """The pod is to go: from now on it counts for nothing."""
        self.deleted_at, self.ready = time.monotonic(), False
        if "preStop" in self.container.get("lifecycle", {}):
            self.pre_stop = self.exec(self.container["lifecycle"]["preStop"]["exec"]["command"])
        self.terminate()

    def terminate(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill process 1 of the container."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait(30)

    def close(self) -> None:
        self.kill()


class Deployment:
    """The controller: as many pods as the manifest says, and a roll-out a pod at a time."""

    def __init__(self, manifest: dict[str, Any], folder: Path, **secrets: str) -> None:
        self.spec, self.folder, self.secrets = manifest["spec"], folder, secrets
        self.name = manifest["metadata"]["name"]
        self.revision = 1
        self.pods: list[Pod] = []
        rolling = self.spec["strategy"]["rollingUpdate"]
        #: How many pods there may be, and how many must be ready, during a roll-out.
        self.most = self.spec["replicas"] + rolling["maxSurge"]
        self.least = self.spec["replicas"] - rolling["maxUnavailable"]
        #: The fewest pods that were ready at a time since the first roll-out began, and what was done in it.
        self.fewest: int | None = None
        self.made = 0
        #: Which of the old pods goes first.
        self.first: Callable[[Pod], Any] = lambda pod: pod.name

    def current(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.deleted_at is None]

    def ready(self) -> list[Pod]:
        return [pod for pod in self.current() if pod.ready]

    def roll_out(self) -> None:
        """A new template: nothing about it differs but its revision."""
        self.revision += 1
        self.fewest = len(self.ready())

    @property
    def done(self) -> bool:
        """Whether all pods are of the newest revision and ready, and no other is left."""
        pods = [pod for pod in self.pods if pod.alive]
        return len(pods) == self.spec["replicas"] and all(pod.ready and pod.revision == self.revision for pod in pods)

    def sync(self) -> None:
        """One look of the controller and of kubelet."""
        for pod in self.pods:
            pod.sync()
        current, ready = self.current(), self.ready()
        if self.fewest is not None:
            self.fewest = min(self.fewest, len(ready))
        new = [pod for pod in current if pod.revision == self.revision]
        old = [pod for pod in current if pod.revision != self.revision]
        for _ in range(min(self.spec["replicas"] - len(new), self.most - len(current))):
            self.made += 1
            name = f"{self.name}-{self.made}"
            spec = self.spec["template"]["spec"]
            self.pods.append(Pod(name, self.revision, spec, self.folder, self.secrets))
        # Of the old ones those that are not ready go first; a ready one goes only if enough stay.
        unfit = [pod for pod in old if not pod.ready]
        if unfit and len(current) - sum(not pod.ready for pod in new) > self.least:
            unfit[0].delete()
        elif len(unfit) < len(old) and len(ready) > self.least:
            min((pod for pod in old if pod.ready), key=self.first).delete()

    def until(self, check: Callable[[], Any], what: str, seconds: float = 120) -> Any:
        """Go on until something is so."""

        def seen() -> Any:
            self.sync()
            return check()

        return eventually(seen, what, seconds)

    def close(self) -> None:
        for pod in self.pods:
            pod.close()
