"""Secure headers: which answer carries which."""

import pytest

from gateway.http import secure_headers
from gateway.http.secure_headers import API, DOCS


@pytest.mark.parametrize("path", ["/docs", "/docs-assets/swagger-ui.css", "/docs/oauth2-redirect"])
def test_pages(path: str) -> None:
    assert secure_headers.of(path) is DOCS


@pytest.mark.parametrize("path", ["/", "/predict", "/v2/docs", "/openapi.json", "/admin/v1/status"])
def test_answers(path: str) -> None:
    assert secure_headers.of(path) is API


def test_https_is_promised_only_where_it_is() -> None:
    assert dict(secure_headers.of_every_answer(tls=False)) == {"x-content-type-options": "nosniff"}
    assert "strict-transport-security" in dict(secure_headers.of_every_answer(tls=True))
