"""Secrets: keys of callers and administrators, the certificate; read at start and followed as they change."""

import asyncio
from dataclasses import dataclass

from gateway.metrics import Metrics
from gateway.security.auth import ApiKeys, refuse_open_bind
from gateway.security.tls import Certificate
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Secrets:
    """`admin_keys` None: there is no admin API; `certificate` None: the doors are plain."""

    keys: ApiKeys
    admin_keys: ApiKeys | None
    certificate: Certificate | None

    @classmethod
    def read(cls, settings: Settings) -> "Secrets":
        """Read every file that the settings name. Raises SettingsError, also when anybody could call unasked."""
        keys = ApiKeys.none(settings.host)
        if settings.api_keys_file is not None:
            keys = ApiKeys.read(settings.api_keys_file)
        refuse_open_bind(settings.host, keys, auth=settings.auth == "on")
        admin_keys = certificate = None
        if settings.admin_key_file is not None:
            admin_keys = ApiKeys.read(settings.admin_key_file, "RETORT_ADMIN_KEY_FILE", options=False)
            admin_keys.keep_apart(keys)
            keys.keep_apart(admin_keys)
        if settings.tls_cert_file is not None and settings.tls_key_file is not None:
            certificate = Certificate(settings.tls_cert_file, settings.tls_key_file)
        return cls(keys, admin_keys, certificate)

    async def watch(self, every_s: float, metrics: Metrics) -> None:
        """Follow the files for ever."""
        followed = [secret for secret in (self.keys, self.admin_keys, self.certificate) if secret]
        await asyncio.gather(*(secret.watch(every_s, metrics) for secret in followed))
