"""`python -m gateway`: the process, or with several workers their supervisor."""

import sys

from gateway import logs
from gateway.errors import RepositoryError, SettingsError
from gateway.settings import load

# What serves is imported by who serves: the supervisor does without the 50 MB.


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; a wrong setting or a taken port ends with one sentence and status 1."""
    try:
        if sys.argv[1:2] == ["--worker"]:
            from gateway.workers.worker import work

            work(sys.argv[2])
            return
        settings = load()
        logs.configure(settings.log_level)
        if settings.workers == 1:
            from gateway.process import serve

            serve(settings)
        else:
            from gateway.workers.supervisor import supervise

            sys.exit(supervise(settings))
    except (RepositoryError, SettingsError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
