"""The launcher: NVIDIA's tritonserver from the unpacked wheel, as a child that never outlives this process."""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from model_server import machine
from model_server.control import KEY_NAME
from model_server.errors import TritonEndedError
from model_server.settings import Settings

BACKENDS = Path(__file__).with_name("backend")
# Whoever reaches these can run code (a load call may carry files) or read memory; the loader alone has the key.
RESTRICTED = "model-repository,shared-memory,logging,trace"
STOP_TIMEOUT_S = 15.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Triton puts its regions
_PR_SET_PDEATHSIG = 1
# A Triton that is killed while it holds the mutex in shared memory leaves its Python stub waiting for it for ever, with
# the GIL and deaf to SIGTERM (seen in 2 of 10 kills under load). This outlives us, waits for Triton's end, and ends
# what is left of its process group and shared memory, after a moment for the orderly way. (wait() needs it too:
# asyncio's ends no earlier than the pipe that a hung stub holds.)
GUARD = 'trap "" INT TERM HUP; tail --pid="$0" -f /dev/null; sleep 2; rm -f "$1"*; kill -s KILL -- "-$0"'
_LIBC = ctypes.CDLL(None, use_errno=True)


class Triton:
    """A running tritonserver; its output goes to our stderr and the last lines are kept for the error."""

    def __init__(self, process: asyncio.subprocess.Process, guard: asyncio.subprocess.Process) -> None:
        self._process, self._guard = process, guard
        self._tail: deque[str] = deque(maxlen=20)
        self._output = asyncio.create_task(self._forward())

    async def ended(self) -> None:
        """Wait until it ends by itself, and raise TritonEndedError with its last lines."""
        code = await self._process.wait()
        await self._output
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise TritonEndedError(f"tritonserver ended by itself ({how}); its last lines:\n" + "".join(self._tail))

    async def stop(self) -> None:
        """Let it finish what it computes, then insist."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        await self._guard.wait()
        await self._output

    async def _forward(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - started with a pipe below
        async for line in self._process.stdout:
            text = line.decode(errors="replace")
            self._tail.append(text)
            sys.stderr.write(text)
            sys.stderr.flush()


@asynccontextmanager
async def running_triton(settings: Settings, key: str) -> AsyncIterator[Triton]:
    """Start tritonserver with nothing loaded; stop it at the end. Raises MachineError when it cannot run here."""
    machine.check(settings.triton_home)
    for use in ("HTTP", "gRPC", "metrics"):
        variable = f"triton_{use.lower()}_port"
        port = getattr(settings, variable)
        machine.check_port(settings.triton_host, port, f"Triton's {use}", f"RETORT_{variable.upper()}")
    with TemporaryDirectory(prefix="retort-backends-") as folder:
        backends = Path(folder)
        copy_backends(settings.triton_home, backends)
        remove_leftovers(region_prefix(settings))
        process = await asyncio.create_subprocess_exec(
            *command(settings, key, backends),
            env=environment(settings.triton_home),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it only through stop()
            preexec_fn=_end_with_parent,
        )
        quiet = asyncio.subprocess.DEVNULL
        guard = await asyncio.create_subprocess_exec(
            *("sh", "-c", GUARD, str(process.pid), str(SHARED_MEMORY / region_prefix(settings))),
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )
        triton = Triton(process, guard)
        try:
            yield triton
        finally:
            await triton.stop()


def copy_backends(triton_home: Path, folder: Path) -> None:
    """Put together a backend directory: the wheel's Python backend with this Python's stub, and ours."""
    wheel = triton_home / "pytriton" / "tritonserver"
    stub = f"{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copytree(wheel / "backends" / "python", folder / "python")
    shutil.copy2(wheel / "python_backend_stubs" / stub / "triton_python_backend_stub", folder / "python")
    shutil.copytree(BACKENDS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def region_prefix(settings: Settings) -> str:
    """Return how the names of our shared memory regions begin: two servers on one machine must not share any."""
    return f"retort-{os.getpid()}-{settings.triton_grpc_port}-"


def remove_leftovers(prefix: str) -> None:
    """Remove the regions of a server that was killed with all its children, as the kernel does to a container out of
    memory. A pod's /dev/shm outlives its containers and their process ids repeat: 1 MB an instance and kill stays.
    The process id is ours now and the port was free, so nobody alive uses them.
    """
    for path in SHARED_MEMORY.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


def command(settings: Settings, key: str, backends: Path) -> list[str]:
    """Return tritonserver's command line; DESIGN: the loader decides what is loaded, so nothing is at the start."""
    host = settings.triton_host
    return [
        str(machine.server(settings.triton_home)),
        f"--model-repository={settings.model_repository}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        # A version that does not load must neither end the server nor make it unready for the others.
        "--exit-on-error=false",
        "--strict-readiness=false",
        "--disable-auto-complete-config",
        f"--http-address={host}",
        f"--http-port={settings.triton_http_port}",
        f"--grpc-address={host}",
        f"--grpc-port={settings.triton_grpc_port}",
        f"--metrics-address={host}",
        f"--metrics-port={settings.triton_metrics_port}",
        f"--http-restricted-api={RESTRICTED}:{KEY_NAME}={key}",
        f"--grpc-restricted-protocol={RESTRICTED}:{KEY_NAME}={key}",
        f"--backend-config=python,shm-region-prefix-name={region_prefix(settings)}",
        f"--exit-timeout-secs={int(STOP_TIMEOUT_S) - 5}",
    ]


def environment(triton_home: Path, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return tritonserver's environment: its libraries, and this interpreter's packages for the Python stub."""
    libraries = (triton_home / "nvidia_pytriton.libs", machine.libpython_folder())
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return {
        **inherited,
        "ORT_DISABLE_TELEMETRY": "1",  # it writes a device id into the home folder when imported
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PYTHONPATH": os.pathsep.join(packages),
        # The embedded interpreter finds its home from the `python3` on PATH.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), inherited.get("PATH", os.defpath))),
    }


def _end_with_parent() -> None:
    """Have the kernel end tritonserver when this process dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
