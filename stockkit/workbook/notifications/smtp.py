"""A notification as a mail: plain text and HTML, under a Message-ID that stays the same however often it is sent.

The server is named by the environment: SMTP_HOST, SMTP_PORT (587), SMTP_USER, SMTP_PASSWORD (best as secret://NAME) and
SMTP_FROM. At port 465 the connection is encrypted from its start, elsewhere by STARTTLS: at 587 it has to be, and a
password never goes over a connection that is not, but to this machine.
"""

from __future__ import annotations

import ipaddress
import os
import re
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from pathlib import Path
from typing import Any

from stockkit.errors import ParamError
from stockkit.intake.secrets import REFERENCE, Secret, look_up
from stockkit.stream.alerts.notifier import Message, NotTaken

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
WAIT = 10.0  # seconds that a server may take for an answer
IMPLICIT, SUBMISSION = 465, 587  # ports: TLS from the start; STARTTLS is a must
ROWS = ("status", "run", "params_file", "notebook", "cell", "cause", "seconds", "finished_at", "report")


@dataclass(frozen=True)
class Server:
    """Where mails are handed in, and as whom; the password is shown nowhere."""

    host: str
    port: int
    sender: str
    user: str = ""
    password: Secret | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Mail:
    """Sends a message as a mail.

    Args:
        receivers: their addresses. server: which takes mails.
    """

    def __init__(self, receivers: Sequence[str], server: Server) -> None:
        self._receivers, self._server = list(receivers), server

    def send(self, alerts: Sequence[Message]) -> None:
        """See `notifier.Notifier`."""
        for place, message in enumerate(alerts):
            if problem := self._hand_in(mail(message.message(), self._receivers, self._server.sender)):
                problem.taken = place
                raise problem

    def _hand_in(self, written: EmailMessage) -> NotTaken | None:
        """Send one; what kept it from being taken, without the password in it."""
        where = self._server.host
        try:
            with self._connected() as connection:
                refused = connection.send_message(written, self._server.sender, self._receivers)
        except smtplib.SMTPRecipientsRefused as error:
            return _refusal(where, *max(error.recipients.values(), key=lambda answer: -answer[0]))
        except smtplib.SMTPResponseException as error:
            return _refusal(where, error.smtp_code, error.smtp_error, self._server.password)
        except (smtplib.SMTPNotSupportedError, ssl.SSLCertVerificationError) as error:
            return NotTaken(f"{where}: {error}.", for_good=True)
        except (smtplib.SMTPException, OSError) as error:
            return NotTaken(f"{where} did not take the mail ({type(error).__name__}: {error}).")
        if refused:
            return NotTaken(f"{where} took the mail, but not for {', '.join(refused)}.", for_good=True)
        return None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        safe = ssl.create_default_context()
        if server.port == IMPLICIT:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=WAIT, context=safe)
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=WAIT)
        try:
            self._make_safe(connection, safe)
            if server.user and server.password:
                connection.login(server.user, server.password.reveal())
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_safe(self, connection: smtplib.SMTP, safe: ssl.SSLContext) -> None:
        server = self._server
        connection.ehlo()
        if server.port == IMPLICIT:
            return
        if connection.has_extn("starttls"):
            connection.starttls(context=safe)
            connection.ehlo()
        elif (server.port == SUBMISSION or server.password) and not server.is_here:
            raise smtplib.SMTPNotSupportedError(f"it offers no STARTTLS at port {server.port}, so nothing was sent")


def _refusal(where: str, code: int, answer: bytes | str, password: Secret | None = None) -> NotTaken:
    """What a server answered; from 500 on for good."""
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    text = _line(password.scrub(text) if password else text)[:300]
    return NotTaken(f"{where} answered {code} {text}".rstrip(". ") + ".", for_good=code >= 500)


def mail(message: Mapping[str, Any], receivers: Sequence[str], sender: str) -> EmailMessage:
    """A message as a mail: no value of it can become a header, or a tag of the HTML."""
    written = EmailMessage(policy=SMTP)
    written["From"], written["To"] = sender, ", ".join(receivers)
    written["Subject"] = _line(str(message["title"]))[:200]
    written["Date"] = format_datetime(datetime.now(UTC))
    name = re.sub(r"[^A-Za-z0-9]+", ".", str(message["id"])).strip(".")
    written["Message-ID"] = f"<stockkit.{name}@{sender.rpartition('@')[2]}>"
    written["Auto-Submitted"] = "auto-generated"
    written["X-Stockkit-Status"], written["X-Stockkit-Run"] = (_line(str(message[key])) for key in ("status", "run"))
    written.set_content(_clean(str(message["text"])) + "\n")
    written.add_alternative(_page(message), subtype="html")
    return written


def _page(message: Mapping[str, Any]) -> str:
    rows = [(name.replace("_", " "), message.get(name)) for name in ROWS]
    cells = "".join(f"<tr><th align=left>{escape(name)}</th><td>{escape(_clean(str(value)))}</td></tr>\n"
                    for name, value in rows if value not in (None, ""))  # fmt: skip
    title = escape(_clean(str(message["title"])))
    return f"<!doctype html>\n<title>{title}</title>\n<h3>{title}</h3>\n<table>\n{cells}</table>\n"


def _clean(text: str) -> str:
    """A text that is UTF-8 and holds no control characters but the ends of lines."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else " " for sign in text.encode("utf-8", "replace").decode()
    )


def _line(text: str) -> str:
    return " ".join(_clean(text).split())


def open_smtp(argument: str, root: Path) -> Mail:
    """The channel of ``smtp:ADDRESS``; several addresses have commas between them.

    Raises:
        ParamError: no address, or the environment does not say which server takes the mail, and from whom.
    """
    receivers = argument.split(",")
    if wrong := [one for one in receivers if not ADDRESS.fullmatch(one)]:
        raise ParamError(f"smtp: {wrong[0][:100]!a} is no mail address: write one, as in smtp:me@example.org.")
    return Mail(receivers, _server())


def _server() -> Server:
    host, user = os.environ.get("SMTP_HOST", "").strip(), os.environ.get("SMTP_USER", "").strip()
    if not host or not re.fullmatch(r"[A-Za-z0-9.:_-]+", host):
        raise ParamError("smtp: SMTP_HOST names no server for mails: set it, as in SMTP_HOST=mail.example.org.")
    port = os.environ.get("SMTP_PORT", "").strip() or str(SUBMISSION)
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        raise ParamError(f"smtp: SMTP_PORT={port[:40]!a} is no port: write 465, 587 or another number.")
    sender = os.environ.get("SMTP_FROM", "").strip() or user
    if not ADDRESS.fullmatch(sender):
        raise ParamError("smtp: SMTP_FROM is no mail address: set it to the sender, as in SMTP_FROM=me@example.org.")
    return Server(host, int(port), sender, user, _password(user))


def _password(user: str) -> Secret | None:
    given = os.environ.get("SMTP_PASSWORD", "").strip()
    if bool(given) != bool(user):
        missing = "SMTP_PASSWORD" if user else "SMTP_USER"
        raise ParamError(f"smtp: {missing} is not set: a login needs both SMTP_USER and SMTP_PASSWORD.")
    if not given:
        return None
    return look_up(given) if REFERENCE.fullmatch(given) else Secret(given, "SMTP_PASSWORD")
