"""A namespace of a real cluster, by way of kubectl."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SENDER = Path(__file__).with_name("sender.py")
PAUSE = "import signal; signal.pause()"
# Of version 2 of control groups, else of version 1.
MEMORY = """cd /sys/fs/cgroup
if [ -e memory.current ]; then cat memory.current memory.stat; exit; fi
cd memory; cat memory.usage_in_bytes memory.stat"""
RESTRICTED = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
}
LOCKED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


@dataclass(frozen=True)
class Loaded:
    """What a sender reports; `late_p99_ms` is its own part of the latencies."""

    sent: int
    answered: int
    lost: dict[str, int]
    seconds: float
    first_answer: float | None
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p100_ms: float
    late_p99_ms: float


class Sending:
    """A sender at work; its figures are there once it has ended."""

    loaded: Loaded


@dataclass(frozen=True)
class Cluster:
    """kubectl in one namespace."""

    kubeconfig: Path
    namespace: str

    def run(self, *arguments: str, given: str | None = None, timeout_s: float = 120) -> str:
        """Run kubectl; its complaint is the error."""
        done = subprocess.run(
            self.command(*arguments), input=given, capture_output=True, text=True, check=False, timeout=timeout_s
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return ["kubectl", "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]

    def apply(self, *documents: Json) -> None:
        """Create or change objects."""
        self.run("apply", "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def find(self, kinds: str, labels: str = "") -> list[Json]:
        """Return objects, by labels."""
        found: list[Json] = json.loads(self.run("get", kinds, "--selector", labels, "--output", "json"))["items"]
        return found

    def pods(self, component: str) -> list[Json]:
        """Return the pods of a part that are not on their way out."""
        found = self.find("pods", f"app.kubernetes.io/component={component}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def version(self) -> tuple[int, int]:
        """Return the API server's version."""
        server = json.loads(self.run("version", "--output", "json"))["serverVersion"]
        return int(server["major"]), int(server["minor"].rstrip("+"))

    def memory_mib(self, pod: str, container: str) -> float:
        """Return a container's working set, as `kubectl top` counts it: without what the kernel could drop at once."""
        used, *stat = self.run("exec", pod, "--container", container, "--", "sh", "-c", MEMORY).splitlines()
        counts = dict(line.split() for line in stat)
        return (int(used) - int(counts.get("total_inactive_file") or counts["inactive_file"])) / 2**20

    def start_client(self, image: str, pull_policy: str) -> None:
        """Start the pod that senders run in, and wait for it."""
        container = {"name": "client", "image": image, "imagePullPolicy": pull_policy, "securityContext": LOCKED}
        container |= {"resources": {"requests": {"cpu": "200m", "memory": "64Mi"}}}
        spec = {"containers": [container | {"command": ["python", "-c", PAUSE]}], "terminationGracePeriodSeconds": 0}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec | RESTRICTED})
        self.run("wait", "--for=condition=Ready", "--timeout=120s", "pod/client", timeout_s=130)

    @contextmanager
    def sending(self, host: str, key: str, rate: float, share_over_grpc: float = 0.2) -> Iterator[Sending]:
        """Have the client pod send until the block ends."""
        arguments = ["env", f"API_KEY={key}", "python", "-c", SENDER.read_text(), host, str(rate), str(share_over_grpc)]
        command = self.command("exec", "--stdin", "client", "--", *arguments)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            sending = Sending()
            try:
                yield sending
            finally:
                out, _ = process.communicate()  # closes stdin: that ends it
        assert process.returncode == 0, "the sender failed"
        sending.loaded = Loaded(**json.loads(out))


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float) -> float:
    """Look twice a second; return the seconds that it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + timeout_s, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(0.5)
    return time.monotonic() - start
