"""A server of SMTP over a real socket, with bad days: it keeps the mails that it takes."""

from __future__ import annotations

import base64
import datetime
import email
import email.policy
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

GOES, LATE = "goes", "late"  # it ends the connection, or never answers, once the mail is there


class Post:
    """What arrived, and how the next mails are answered: a line of SMTP, `GOES` or `LATE`; else 250."""

    def __init__(self) -> None:
        self.days: list[str] = []
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[str, bool]] = []  # the password, and whether the connection was encrypted
        self.tls: ssl.SSLContext | None = None
        self.from_the_start = False
        self.go_on = threading.Event()
        self.port = 0


class Session(socketserver.StreamRequestHandler):
    """One connection."""

    server: Any

    def handle(self) -> None:
        self.post, self.encrypted = self.server.post, False
        with suppress(OSError):
            if self.post.from_the_start:
                self._encrypt()
            self._say("220 here")
            while line := self.rfile.readline():
                if not self._answer(line.decode().strip()):
                    return

    def _answer(self, line: str) -> bool:
        word, _, rest = line.partition(" ")
        if word.upper() == "EHLO":
            offers = ["AUTH PLAIN"] + (["STARTTLS"] if self.post.tls and not self.encrypted else [])
            self._say("250-here", *(f"250-{offer}" for offer in offers), "250 8BITMIME")
        elif word.upper() == "STARTTLS":
            self._say("220 go")
            self._encrypt()
        elif word.upper() == "AUTH":
            self.post.logins.append((base64.b64decode(rest.split()[1]).decode().split("\0")[2], self.encrypted))
            self._say("235 in" if "wrong" not in self.post.logins[-1][0] else f"535 no, {self.post.logins[-1][0]}")
        elif word.upper() == "DATA":
            return self._take()
        else:
            self._say("221 bye" if word.upper() == "QUIT" else "250 yes")
        return True

    def _encrypt(self) -> None:
        self.request = self.post.tls.wrap_socket(self.request, server_side=True)
        self.setup()
        self.encrypted = True

    def _take(self) -> bool:
        self._say("354 go on")
        lines = iter(self.rfile.readline, b".\r\n")
        body = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
        day = self.post.days.pop(0) if self.post.days else "250 taken"
        if day[0] == "2" or day in (GOES, LATE):
            self.post.mails.append(email.message_from_bytes(body, policy=email.policy.default))
        if day == LATE:
            self.post.go_on.wait(60)
        if day in (GOES, LATE):
            return False
        self._say(day)
        return True

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def serving() -> Iterator[Post]:
    """A server on a port of its own while the block runs."""
    post = Post()
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.post = post  # type: ignore[attr-defined]
        server.handle_error = lambda *words: None  # type: ignore[method-assign]
        post.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield post
        finally:
            post.go_on.set()
            server.shutdown()
            thread.join()


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path = folder / "server.pem"
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem))
    return path
