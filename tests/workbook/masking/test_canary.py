"""A secret that a run looks up reaches nothing that it shows, keeps or sends, whatever its notebooks do with it."""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import zlib
from urllib.parse import quote

import pytest

from stockkit.workbook.masking import scanning
from tests.conftest import make_workbook, stockkit_process
from tests.conftest import stockkit as stockkit_here
from tests.stream.alerts.receiver import receiver
from tests.workbook.notifications import mail_server
from tests.workbook.test_runner import add

FIRST, SECOND = "Ca9+naryFirst\\Half", 'Second"Half/7Zq'
CANARY = FIRST + SECOND
VAULT = """import json, pathlib
from stockkit.intake.secrets import resolve
class Vault:
    def get_secret_value(self, SecretId):
        return {'SecretString': pathlib.Path('vault').read_text()}
def look_up():
    return resolve('secret://canary', Vault()).reveal()
"""
# it is shown before anybody has looked it up as a secret, by a notebook that succeeds, so that its result is kept
EARLY = ["import pathlib\nearly = pathlib.Path('vault').read_text()\nprint(early)", "early[:16]"]
CELLS = [
    # a process that dies at once, and a thread, look it up
    "import os, pathlib, subprocess, sys, threading\nimport vaulted\n"
    "subprocess.run([sys.executable, '-c', 'import os, vaulted; vaulted.look_up(); os.kill(os.getpid(), 9)'])\n"
    "threading.Thread(target=vaulted.look_up).start()",
    "import base64, html, json, urllib.parse\nkey = vaulted.look_up()\nprint(key, file=sys.stderr)\n"
    "print(base64.b64encode(b'user:' + key.encode()).decode(), key.encode().hex(), repr(key), json.dumps({key: key}))\n"
    "print(urllib.parse.quote(key, safe=''), html.escape(key), key.upper(), base64.b64encode(key.encode()).decode())",
    "from IPython.display import HTML, display\ndisplay({'application/vnd.stockkit.progress': key}, raw=True)",
    "print(key[:16], end='')",
    "print(key[16:])",
    "display(HTML(f'<b>{key[:16]}</b>'), HTML(f'<i>{key[16:]}</i>'))",
    "import drawn\npng = drawn.picture(key)\ndisplay({'image/png': base64.b64encode(png).decode()}, raw=True)",
    "(run,) = pathlib.Path('reports').glob('*.partial')\n(run / 'notes.txt').write_text(key)\n"
    "(run / 'notes.bin').write_bytes(b'\\0' + key.encode())\n(run / 'drawn.png').write_bytes(png)",
    "display({'application/vnd.stockkit+json': {'headlines': {'note': key, 'warnings': [key]}}}, raw=True)",
    "raise ValueError(key)",
]
DRAWN = """import struct, zlib
def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
def picture(text):
    start = chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0))
    said = chunk(b'zTXt', b'Title\\0\\0' + zlib.compress(text.encode()))
    point = chunk(b'IDAT', zlib.compress(bytes(2))) + chunk(b'IEND', b'')
    return b'\\x89PNG\\r\\n\\x1a\\n' + start + said + point
"""
KEEP = "import json, os, sys\njson.dump([sys.stdin.read(), dict(os.environ)], open('told.json', 'w'))"


def forms(value: str) -> set[str]:
    """A value in every form in which it must not be seen."""
    coded = [base64.b64encode(bytes(shift) + value.encode())[4:-4].decode() for shift in range(3)]
    plain = [value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value, safe=""), html.escape(value)]
    return {form.lower() for form in [*plain, *coded, value.encode().hex()]}


NEEDLES = forms(CANARY) | forms(FIRST) | forms(SECOND)


def seen(body: bytes) -> list[str]:
    """The forms of the canary that bytes hold, also in what they pack and in the pictures of a page."""
    pictures = [base64.b64decode(text + b"=" * (-len(text) % 4)) for text in re.findall(rb"iVBOR[A-Za-z0-9+/]+", body)]
    packed = [zlib.decompress(text.partition(b"\0\0")[2]) for picture in [body, *pictures]
              for text in re.findall(rb"zTXt(.+?)IDAT", picture, re.S)]  # fmt: skip
    text = b"\n".join([body, *pictures, *packed]).decode("utf-8", "replace").lower()
    return [needle for needle in NEEDLES if needle in text]


@pytest.fixture
def workbook(tmp_path, monkeypatch):
    book = make_workbook(tmp_path / "book", own_notebooks=True)
    for name, text in {"vault": CANARY, "vaulted.py": VAULT, "drawn.py": DRAWN, "keep.py": KEEP}.items():
        (book / name).write_text(text)
    monkeypatch.setenv("STOCKKIT_SECRET_HOOK", "Hook0123456789+")
    add(book, "00_early", *EARLY)
    add(book, "01_x", *CELLS)
    return book


def run(workbook, monkeypatch, command):
    """Run the notebook that shows the canary everywhere; all that was shown, kept or sent, by where."""
    with receiver() as hook, mail_server.serving() as post:
        for name, value in {"HOST": "127.0.0.1", "PORT": str(post.port), "FROM": "runs@example.org"}.items():
            monkeypatch.setenv(f"SMTP_{name}", value)
        channels = ["smtp:me@example.org", f"webhook:{hook.address}/secret://hook", f"command:{sys.executable} keep.py"]
        (workbook / "params" / "own.yaml").write_text(f"notebooks: [00_early, 01_x]\nnotify: {json.dumps(channels)}\n")
        done = command(workbook, "run", "params/own.yaml", "--jobs", "1", "--log", "json")
    assert done.returncode == 1
    assert {"cell", "error"} <= {json.loads(line)["event"] for line in done.stderr.splitlines()}
    assert len(post.mails) == len(hook.bodies) == 1
    parts = [part.get_content() for part in post.mails[0].walk() if not part.is_multipart()]
    shown = {"stdout": done.stdout, "stderr": done.stderr, "mail": str(post.mails[0].items()) + "".join(parts)}
    shown |= {"webhook": json.dumps(hook.bodies), "command": (workbook / "told.json").read_text()}
    files = [path for place in ("reports", "data/lake") for path in (workbook / place).rglob("*") if path.is_file()]
    shown |= {str(path.relative_to(workbook)): path.read_bytes().decode("latin-1") for path in files}
    return {re.sub(r"^reports/\d[^/]*/", "", name): text.encode("latin-1", "replace") for name, text in shown.items()}


def test_a_canary_is_seen_nowhere(workbook, monkeypatch):
    shown = run(workbook, monkeypatch, stockkit_process)
    assert {name: seen(body) for name, body in shown.items() if seen(body)} == {}
    assert {"01_x.ipynb", "01_x.html", "index.html", "run.json", "notified.json", "notes.txt", "drawn.png"} <= set(
        shown
    )
    assert "notes.bin" not in shown
    warnings = json.loads(shown["run.json"])["warnings"]
    assert "notes.bin was withheld: it holds a secret, and is no text in which that could be struck out." in warnings
    assert all(b"Hook0123456789" not in body for body in shown.values())


def test_without_the_last_look_it_is_seen(workbook, monkeypatch):
    monkeypatch.setattr(scanning, "scan", lambda folder, redaction: [])
    leaks = {name for name, body in run(workbook, monkeypatch, stockkit_here).items() if seen(body)}
    assert leaks >= {"00_early.ipynb", "00_early.html", "01_x.ipynb", "01_x.html", "notes.txt", "notes.bin"}
    assert any(name.startswith("data/lake/") for name in leaks)  # the kept result of the first notebook
