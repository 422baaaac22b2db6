"""The certificate of the doors: checked at start, followed as its files change."""

import asyncio
import logging
import ssl
from pathlib import Path

import grpc

from gateway.errors import SettingsError
from gateway.follow import follow
from gateway.metrics import Metrics

log = logging.getLogger(__name__)


class Certificate:
    """One certificate chain with its key, for HTTP (`context`) and gRPC (`grpc_credentials`).

    Making one raises SettingsError when the files cannot be used.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._cert_file, self._key_file = cert_file, key_file
        self._pair = self._read()
        self.context = self._new_context()

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that take the certificate of the moment at every handshake; gRPC begins at TLS 1.2."""
        return grpc.dynamic_ssl_server_credentials(self._for_grpc(), self._for_grpc)

    async def reload(self) -> None:
        """Take the files as they are now; when they are broken raise SettingsError and keep what is in use."""
        pair = await asyncio.to_thread(self._read)
        if pair != self._pair:
            self._new_context()  # half of a pair that does not fit would spoil the context that is in use
            self._load(self.context)
            self._pair = pair
            log.info("the certificate %s was replaced", self._cert_file)

    async def watch(self, every_s: float, metrics: Metrics) -> None:
        """Reload for ever."""
        await follow(self.reload, every_s, metrics.certificate_errors, "the certificate that was in use stays")

    def _for_grpc(self) -> grpc.ServerCertificateConfiguration:
        certificate, key = self._pair
        return grpc.ssl_server_certificate_configuration([(key, certificate)])

    def _read(self) -> tuple[bytes, bytes]:
        return _read("RETORT_TLS_CERT_FILE", self._cert_file), _read("RETORT_TLS_KEY_FILE", self._key_file)

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._cert_file, self._key_file, password=self._refuse_password)
        except (ssl.SSLError, OSError) as error:
            if "KEY_VALUES_MISMATCH" in str(error):
                why = "the key is not the certificate's"
            else:
                why = "they must be PEM, the certificate first and then those that signed it"
            raise SettingsError(
                f"RETORT_TLS_CERT_FILE {self._cert_file} and RETORT_TLS_KEY_FILE {self._key_file} do not go: {why}"
            ) from error

    def _refuse_password(self) -> str:
        """OpenSSL would ask at the terminal, for ever."""
        raise SettingsError(
            f"RETORT_TLS_KEY_FILE {self._key_file} is encrypted; it must be readable without a password"
        )


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting} {path} cannot be read: {error.strerror}") from error
