"""Headers that tell browsers and caches to be careful: made once, the same bytes on every answer."""

Headers = tuple[tuple[bytes, bytes], ...]

# Answers are data about one caller's text: nobody keeps them, nothing in them runs, no page frames them.
API: Headers = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# Swagger UI: its files come from here, its start is a script in the page, and it calls this API.
DOCS: Headers = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
HTTPS_ONLY_S = 31_536_000  # a year


def of(path: str) -> Headers:
    """Return what an answer of this path carries."""
    return DOCS if path.startswith("/docs") else API


def of_every_answer(*, tls: bool) -> list[tuple[str, str]]:
    """Return what the server adds to whatever the application answers."""
    headers = [("x-content-type-options", "nosniff")]
    if tls:
        headers.append(("strict-transport-security", f"max-age={HTTPS_ONLY_S}"))
    return headers
