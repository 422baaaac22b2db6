"""`python -m model_server`: Triton and its loader in one process; `--check` only says whether they can run here."""

import asyncio
import logging
import secrets
import signal
import sys

from model_server import logs, machine, settings
from model_server.errors import ModelServerError
from model_server.launcher import running_triton
from model_server.loader import keep_loaded
from model_server.settings import Settings

log = logging.getLogger(__name__)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C (exit 0); end with one sentence (exit 1) when Triton cannot run or ends."""
    try:
        chosen = settings.load()
        logs.configure(chosen.log_level)
        if sys.argv[1:] == ["--check"]:
            machine.check(chosen.triton_home)
        elif sys.argv[1:]:
            sys.exit("usage: python -m model_server [--check]")
        else:
            asyncio.run(serve(chosen))
    except (ModelServerError, OSError) as error:  # OSError: a full disk, a folder that cannot be written
        sys.exit(f"error: {error}")


async def serve(chosen: Settings) -> None:
    """Run Triton and the loader until a signal or until one of them fails."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    given = chosen.triton_api_key
    key = given.get_secret_value() if given else secrets.token_hex(16)
    async with running_triton(chosen, key) as triton:
        tasks = [
            asyncio.create_task(coroutine) for coroutine in (triton.ended(), keep_loaded(chosen, key), stop.wait())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what ended it; stop.wait() raises nothing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main()
