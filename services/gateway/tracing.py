"""The tracer: which requests are traced, and when their spans are made. Off, it costs a branch."""

from typing import TYPE_CHECKING

from gateway import trace_context
from gateway.call import Call
from gateway.errors import SettingsError

if TYPE_CHECKING:
    from gateway.otlp import OtlpExport

# Probes and what else has no route of its own: nobody looks for the trace of a health check that went well.
UNTRACED = frozenset({"other", "grpc_health"})


class Tracer:
    """Begins and finishes the trace of every call of both doors; without an export it does nothing."""

    def __init__(self, export: "OtlpExport | None", share: float) -> None:
        self._export, self._share = export, share

    def begin(self, call: Call) -> None:
        """Give the call its trace: the caller's, or a new one of which `share` are sampled."""
        if self._export is not None:
            call.trace = trace_context.read(call.headers, self._share)

    def finish(self, call: Call, method: str, status: int) -> None:
        """Make and queue the call's spans, if it is sampled; `status` is HTTP's for both doors."""
        trace = call.trace
        if self._export is None or trace is None or not trace.is_sampled:
            return
        if status < 400 and call.route in UNTRACED and not trace.parent_id:
            return
        self._export.put(call, trace, method, status)

    async def close(self) -> None:
        """Send what is queued, within the export's bound."""
        if self._export is not None:
            await self._export.close()


def tracer(endpoint: str | None, share: float, release: str) -> Tracer:
    """Return a tracer that exports to `endpoint`; None: one that does nothing. Raises SettingsError."""
    if endpoint is None:
        return Tracer(None, share)
    try:
        # Here, because the packages cost 6.5 MB and 50 ms: who does not trace needs neither them nor the extra.
        from gateway.otlp import OtlpExport
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"RETORT_OTLP_ENDPOINT is set, but {error.name} is not installed: "
            "pip install 'retort[tracing]', or unset it"
        ) from error
    return Tracer(OtlpExport(endpoint, release), share)
