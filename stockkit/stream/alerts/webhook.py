"""Messages as JSON to an address of HTTP, at least once, under an id that stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from stockkit.errors import ParamError
from stockkit.intake.secrets import REFERENCE, Secret, keep_out_of_logs, look_up
from stockkit.stream.alerts.notifier import Message, NotTaken, Taken, per_minute

if TYPE_CHECKING:
    import httpx

CONNECT, ANSWER = 5.0, 10.0  # seconds
PASSES = {408, 429}  # refusals that may pass


class Webhook:
    """POSTs a message as a JSON object, with its id also as the header Idempotency-Key.

    Args:
        address: the URL, as it is written in the parameter. secrets: what its references stand for.
    """

    at_once = 1

    def __init__(self, address: str, secrets: Sequence[Secret] = ()) -> None:
        self.per_minute = per_minute()
        self._address, self._secrets = address, secrets
        self._taken = Taken()
        host = _check(self._url(), address)
        self.where = address if address in {secret.reference for secret in secrets} else self._scrub(host)

    def send(self, alerts: Sequence[Message]) -> None:
        """See `notifier.Notifier`."""
        for place, alert in enumerate(alerts):
            if alert.id in self._taken:
                continue
            if problem := self._post(alert):  # raised here, where no local variable holds the URL
                problem.taken = place
                raise problem
            self._taken.add(alert.id)

    def _post(self, alert: Message) -> NotTaken | None:
        """Send one; what kept it from being taken."""
        import httpx

        headers = {"Content-Type": "application/json", "Idempotency-Key": quote(alert.id, safe=":/"),
                   "User-Agent": "stockkit"}  # fmt: skip
        try:
            with self._client.stream("POST", self._url(), json=alert.message(), headers=headers) as answer:
                return self._refusal(answer)
        except httpx.TimeoutException:
            return NotTaken(f"{self.where} did not answer within {ANSWER:g} s.")
        except httpx.HTTPError as error:
            return NotTaken(
                f"the connection to {self.where} failed ({self._scrub(f'{type(error).__name__}: {error}')})."
            )

    def _refusal(self, answer: httpx.Response) -> NotTaken | None:
        from stockkit.intake.sources.download import retry_after

        status = answer.status_code
        if answer.is_success:
            return None
        reason = f"{self.where} answered {self._scrub(f'{status} {answer.reason_phrase}'.strip())}."
        if answer.has_redirect_location:
            return NotTaken(f"{reason} Redirects are not followed: name the address that takes alerts.")
        wait = retry_after(answer.headers.get("retry-after", "")) or 0.0
        return NotTaken(reason, wait=wait, for_good=400 <= status < 500 and status not in PASSES)

    @cached_property
    def _client(self) -> httpx.Client:
        from urllib.request import getproxies, proxy_bypass

        import httpx

        from stockkit.intake.sources.download import LOGGERS, LOOPBACK

        for secret in self._secrets:
            keep_out_of_logs(secret, LOGGERS)
        url = urlsplit(self._url())
        host = url.hostname or ""
        proxy = None if LOOPBACK.fullmatch(host) or proxy_bypass(host) else getproxies().get(url.scheme)
        timeout = httpx.Timeout(ANSWER, connect=CONNECT)
        return httpx.Client(transport=httpx.HTTPTransport(proxy=proxy), timeout=timeout)

    def _url(self) -> str:
        """The address with the secrets in it: for the call alone."""
        values = {secret.reference: secret.reveal() for secret in self._secrets}
        if self._address in values:
            return values[self._address]
        return REFERENCE.sub(lambda match: quote(values[match[0]], safe="/"), self._address)

    def _scrub(self, text: str) -> str:
        for secret in self._secrets:
            text = secret.scrub(text)
        return text


def open_webhook(argument: str, root: Path) -> Webhook:
    """The notifier of ``webhook:URL``, where the URL, or a part of it, may be ``secret://NAME``.

    Raises:
        ParamError: it is no address, or a secret is not there.
    """
    return Webhook(argument, [look_up(match[0]) for match in REFERENCE.finditer(argument)])


def _check(url: str, shown: str) -> str:
    """The host of an address, which is not shown: it may be a secret as a whole."""
    try:
        parts: Any = urlsplit(url)
        port = parts.port
    except ValueError:
        parts = port = None
    if not parts or parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not url.isascii():
        shown = shown if REFERENCE.fullmatch(shown) else "its address"
        raise ParamError(f"webhook: {shown} is no address of HTTP (not shown): write webhook:https://HOST/PATH.")
    if parts.username is not None or parts.password is not None:
        raise ParamError(
            f"the webhook at {parts.hostname} has a password in its address: put the whole address into a "
            "secret, as in webhook:secret://alerts, without one."
        )
    return str(parts.hostname)
