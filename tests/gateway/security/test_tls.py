"""The certificate: refused in one sentence, followed as it changes, the same for HTTP, admin and gRPC."""

import asyncio
import logging
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.errors import SettingsError
from gateway.metrics import Metrics
from gateway.security.tls import Certificate
from tests.gateway.certificates import make_certificate
from tests.gateway.conftest import until
from tests.gateway.processes import environment, process, wait_until
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")

HANDSHAKE_S = 1


@asynccontextmanager
async def https(certificate: Certificate) -> AsyncIterator[int]:
    """A server with this certificate."""

    async def bye(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(bye, "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def shown_at(port: int) -> str:
    """The certificate that a client sees, PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(der)


async def test_a_new_certificate_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = make_certificate(tmp_path / "used")
    first = cert.read_text()
    certificate, metrics = Certificate(cert, key), Metrics()
    watch = asyncio.create_task(certificate.watch(0.01, metrics))

    async def counted() -> bool:
        return (metrics.registry.get_sample_value("retort_certificate_errors_total") or 0) >= 3

    async with https(certificate) as port:
        assert await shown_at(port) == first
        other_cert, other_key = make_certificate(tmp_path / "other")
        with caplog.at_level(logging.ERROR):
            cert.write_bytes(other_cert.read_bytes())  # the key is the old one's still
            await until(counted)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "the key is not the certificate's; the certificate that was in use stays" in caplog.text
        assert await shown_at(port) == first
        key.write_bytes(other_key.read_bytes())

        async def is_new() -> bool:
            return await shown_at(port) == other_cert.read_text()

        await until(is_new)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
async def test_tls_begins_at_1_2(tmp_path: Path, version: ssl.TLSVersion) -> None:
    cert, key = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(cert))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    certificate = Certificate(cert, key)
    certificate.context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL alone would refuse TLS 1.1
    async with https(certificate) as port:
        connecting = asyncio.open_connection("127.0.0.1", port, ssl=context)
        if version < ssl.TLSVersion.TLSv1_2:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connecting
        else:
            _, writer = await connecting
            writer.close()


def test_what_does_not_go_is_one_sentence(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path / "one")
    _, other_key = make_certificate(tmp_path / "two")
    _, locked_key = make_certificate(tmp_path / "three", password="secret")
    (tmp_path / "empty").write_text("")
    for files, message in (
        ((tmp_path / "no.crt", key), f"RETORT_TLS_CERT_FILE {tmp_path}/no.crt cannot be read: No such file"),
        ((cert, tmp_path), f"RETORT_TLS_KEY_FILE {tmp_path} cannot be read: Is a directory"),
        ((cert, other_key), "the key is not the certificate's"),
        ((cert, locked_key), "is encrypted; it must be readable without a password"),
        ((tmp_path / "empty", key), "they must be PEM"),
        ((cert, tmp_path / "empty"), "they must be PEM"),
    ):
        with pytest.raises(SettingsError) as refused:
            Certificate(*files)
        assert message in str(refused.value)


@dataclass(frozen=True)
class Secured:
    """A gateway process with TLS at every door."""

    cert: Path
    http: int
    grpc: int
    admin: int


@pytest.fixture
def secured(published: Path, tmp_path: Path) -> Iterator[Secured]:
    """A gateway that is ready."""
    cert, key = make_certificate(tmp_path / "tls")
    http, grpc_port, admin, metrics = free_ports(4)
    (tmp_path / "admin").write_text(f"{'0' * 64} root\n")
    variables = environment(
        model_repository=published,
        triton_urls="127.0.0.1:1",
        http_port=http,
        grpc_port=grpc_port,
        admin_port=admin,
        admin_key_file=tmp_path / "admin",
        metrics_port=metrics,
        tls_cert_file=cert,
        tls_key_file=key,
        gateway_secrets_poll_s=0.05,
        gateway_drain_s=0,
        gateway_head_timeout_s=HANDSHAKE_S,
    )
    log = tmp_path / "gateway.log"

    def is_ready() -> bool:
        try:
            return httpx.get(f"https://127.0.0.1:{http}/readyz", verify=trusting(cert)).status_code == 200
        except httpx.TransportError:
            return False

    with process("gateway", variables, log):
        wait_until(is_ready, 15, log)
        yield Secured(cert, http, grpc_port, admin)


def trusting(cert: Path) -> ssl.SSLContext:
    """A client's context that trusts this certificate alone."""
    return ssl.create_default_context(cafile=str(cert))


def grpc_is_ready(secured: Secured, cert: Path) -> bool:
    """Whether the gRPC door answers a client who trusts this certificate."""
    credentials = grpc.ssl_channel_credentials(cert.read_bytes())
    with grpc.secure_channel(f"localhost:{secured.grpc}", credentials) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            return bool(stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=5).ready)
        except grpc.RpcError:
            return False


def test_every_door_is_secured_and_follows_the_certificate(secured: Secured, tmp_path: Path) -> None:
    first = tmp_path / "first.crt"
    first.write_bytes(secured.cert.read_bytes())
    answer = httpx.get(f"https://localhost:{secured.http}/healthz", verify=trusting(first))
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert httpx.get(f"https://localhost:{secured.admin}/admin/v1/status", verify=trusting(first)).status_code == 401
    assert grpc_is_ready(secured, first)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{secured.http}/healthz")
    with grpc.insecure_channel(f"localhost:{secured.grpc}") as channel, pytest.raises(grpc.RpcError):
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerReady(service_pb2.ServerReadyRequest(), timeout=2)

    second, _ = make_certificate(tmp_path / "tls")

    def follows() -> bool:
        try:
            return httpx.get(f"https://localhost:{secured.http}/healthz", verify=trusting(second)).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(follows, 5)
    assert grpc_is_ready(secured, second)
    assert not grpc_is_ready(secured, first)


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_never_ends_is_cut_off(secured: Secured, begun: bytes) -> None:
    with ExitStack() as stack:
        doors = {}
        for name in ("http", "grpc", "admin"):
            address = ("127.0.0.1", getattr(secured, name))
            doors[name] = stack.enter_context(socket.create_connection(address, timeout=HANDSHAKE_S + 2))
            doors[name].sendall(begun)
        started_s = time.monotonic()
        for name, door in doors.items():
            with suppress(ConnectionError):
                while door.recv(4096):
                    pass
            assert time.monotonic() - started_s < HANDSHAKE_S + 1, name
        assert time.monotonic() - started_s > HANDSHAKE_S / 2
