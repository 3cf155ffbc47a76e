"""Where reports go: a folder, or below a prefix on S3, to which a run that has ended is published whole.

On S3 the files of a run are never changed: ``<run>/``, and ``<run>.2/`` and so on where a run that had failed went on.
First comes ``files.json``, which says with their sums which files there will be, and so belongs to one publication and
no other; last comes ``run.json``: without it a prefix is half published, and nothing leads there. Then ``index.html``
over all runs and ``latest.json``, which leads to the newest run that succeeded, are replaced, each on the condition
that nobody else has done so meanwhile. Any of it can be done again.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockkit.aws import Session
from stockkit.errors import LakeError, RunError
from stockkit.files import OCTETS, Bucket
from stockkit.lake.address import parse
from stockkit.local_files import locked, write_atomically
from stockkit.workbook.manifest import PARTIAL, SUCCEEDED
from stockkit.workbook.notifications.notes import NAME as NOTE
from stockkit.workbook.pages import bodies

FILES, MANIFEST, PAGE, LATEST = "files.json", "run.json", "index.html", "latest.json"
RUN = re.compile(r"(\d{8}T\d{6}Z)(?:-(\d+))?(?:\.(\d+))?")
KINDS = {".html": "text/html; charset=utf-8", ".json": "application/json", ".ipynb": "application/x-ipynb+json"}
MIRROR = ".published"  # what is known of the runs that are published; its name keeps it out of every list of runs
ATTEMPTS = 100  # of one run
TRIES = 20  # to replace what others replace, too
SIDE_BY_SIDE = 8  # manifests that are fetched at once
LARGEST = 20_000_000  # bytes of a manifest


@dataclass(frozen=True)
class FolderReports:
    """Reports in a folder, where a run is made: there is nothing to publish."""

    local: Path

    def check(self) -> None:
        """Nothing has to be there."""

    def fetch(self, run: str) -> None:
        """It is here."""

    def publish(self, folder: Path) -> str:
        """The page of a run."""
        return str(folder / PAGE)


@dataclass(frozen=True)
class BucketReports:
    """Reports below a prefix on S3.

    Attributes:
        bucket: where they are published. local: where a run is made, and kept until it is published.
    """

    bucket: Bucket
    local: Path

    def check(self) -> None:
        """Look before a run starts whether there is an answer.

        Raises:
            LakeError: no bucket, no credentials, no right to read, no network.
        """
        self.bucket.stored(LATEST, 0)

    def publish(self, folder: Path) -> str:
        """Publish a run that has ended, or go on with that; the address of its page.

        A folder in `local` goes once all is there.

        Raises:
            LakeError: not all of it is there; tells how to go on. Whatever is there can be gone on with.
            RunError: the folder is no run that has ended.
        """
        files = _files(folder)
        manifest = _manifest(files, folder)
        try:
            with locked(self.local / ".publishing"):
                name = self._put_files(manifest["run"], files)
                self._list_runs()
                if manifest["status"] == SUCCEEDED:
                    self._point(manifest["run"], name)
        except (LakeError, OSError, KeyboardInterrupt) as error:
            why = str(error) or "it was interrupted."
            raise LakeError(
                f"run {manifest['run']} is not published: {why} It is kept in {folder}; "
                f"`stockkit report {folder} --publish {self.bucket}` goes on."
            ) from error
        if folder.parent == self.local:
            shutil.rmtree(folder, ignore_errors=True)
        return self.bucket.uri(f"{name}/{PAGE}")

    def fetch(self, run: str) -> None:
        """Bring the newest publication of a run back to `local`, so that it can go on; what is there is newer.

        Raises:
            LakeError: it cannot be read, or a file of it is not what was published. RunError: there is no such run.
        """
        if not RUN.fullmatch(run):
            raise RunError(f"{run[:60]!r} is no run's id, as 20261121T071334Z.")
        if (self.local / run).is_dir() or (self.local / f"{run}{PARTIAL}").is_dir():
            return
        names = [name for name in self.bucket.folders("") if name == run or name.startswith(f"{run}.")]
        for name in sorted(names, key=_order, reverse=True):
            if self.bucket.size(f"{name}/{MANIFEST}") is not None:
                return self._fetch(name, self.local / run)
        raise RunError(f"{self.bucket} has no run {run} that is published whole, and {self.local} does not keep it.")

    def _fetch(self, name: str, folder: Path) -> None:
        part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            for file, total in _sums(self.bucket.read(f"{name}/{FILES}"), name).items():
                body = self.bucket.read(f"{name}/{file}")
                if body is None or _sum(body) != total:
                    raise LakeError(f"{self.bucket.uri(name)}/{file} is not what was published: it cannot go on.")
                write_atomically(part / file, body)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _put_files(self, run: str, files: Mapping[str, bytes]) -> str:
        """Put the files below a name of their own, in part or as a whole there from an earlier try; the name."""
        sums = {name: _sum(body) for name, body in files.items()}
        plan = (json.dumps({"run": run, "files": sums}, indent=2, sort_keys=True) + "\n").encode()
        for attempt in range(1, ATTEMPTS):
            name = run if attempt == 1 else f"{run}.{attempt}"
            if self._put(f"{name}/{FILES}", plan):
                break
        else:
            raise LakeError(f"{self.bucket} has {ATTEMPTS - 1} publications of run {run}.")
        for file in sorted(files, key=lambda file: (file == MANIFEST, file)):
            if not self._put(f"{name}/{file}", files[file]):
                raise LakeError(f"{self.bucket.uri(name)}/{file} is something else.")
        return name

    def _put(self, key: str, body: bytes) -> bool:
        """Put a file that is never replaced; whether it is there now, put by this call or before."""
        kind = KINDS.get(Path(key).suffix) or mimetypes.guess_type(key)[0] or OCTETS
        if not self.bucket.put(key, body, kind):
            return self.bucket.read(key) == body
        if key.endswith(f"/{FILES}") and self.bucket.put(key, body, kind):
            raise LakeError(f"{self.bucket} does not heed the condition of a put (If-None-Match): files could change.")
        return True

    def _list_runs(self) -> None:
        """Make the page over all runs that are published whole."""
        from stockkit.workbook import report

        def page(before: bytes) -> bytes:
            self._mirror()
            return report.render_runs(self.local / MIRROR).read_bytes()

        self._replace(PAGE, page, most=0)

    def _mirror(self) -> None:
        """Bring here what the page needs to know of each run, and forget those that are gone."""
        mirror = self.local / MIRROR
        mirror.mkdir(exist_ok=True)
        there = {name for name in self.bucket.folders("") if RUN.fullmatch(name)}
        known = {path.name for path in mirror.iterdir() if path.is_dir()}
        for name in known - there:
            shutil.rmtree(mirror / name)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(self._mirror_run, sorted(there - known)))

    def _mirror_run(self, name: str) -> None:
        manifest = self.bucket.stored(f"{name}/{MANIFEST}", LARGEST)
        if manifest is None:
            return
        part = self.local / MIRROR / f".{name}.{uuid.uuid4().hex[:8]}"
        if self.bucket.size(f"{name}/{PAGE}"):
            write_atomically(part / PAGE, b"")  # that it is there is all that counts
        write_atomically(part / MANIFEST, manifest.body)
        part.rename(self.local / MIRROR / name)

    def _point(self, run: str, name: str) -> None:
        """Let the pointer lead to a run, unless it leads to a newer one."""
        body = json.dumps({"run": run, "href": f"{name}/{PAGE}", "status": SUCCEEDED}, indent=2) + "\n"

        def pointer(before: bytes) -> bytes | None:
            return None if _order(_href(before)) >= _order(name) else body.encode()

        self._replace(LATEST, pointer, most=LARGEST)

    def _replace(self, key: str, make: Callable[[bytes], bytes | None], most: int) -> None:
        """Replace what others replace as well: make it from `most` bytes of what is there; None leaves it."""
        kind = KINDS[Path(key).suffix]
        for _ in range(TRIES):
            before = self.bucket.stored(key, most)
            body = make(before.body if before else b"")
            if body is None or self.bucket.replace(key, body, before.tag if before else None, kind) is not None:
                return
        raise LakeError(f"{self.bucket.uri(key)} is replaced by others again and again: try again.")


Reports = FolderReports | BucketReports


def open_reports(text: str | None, root: Path) -> Reports:
    """The place of reports that ``--reports`` names.

    Args:
        text: a folder, or ``s3://bucket/prefix``; None for ``reports`` in the workbook. root: the workbook's folder.

    Raises:
        LakeError: no such kind of address.
    """
    if text is None or "://" not in text:
        return FolderReports((root / "reports" if text is None else Path(text).expanduser()).resolve())
    try:
        address = parse(text)
    except LakeError as error:
        raise LakeError(str(error).replace("lake", "--reports", 1)) from None
    if address is None or "?" in text:
        raise LakeError(f"--reports {text!r}: give s3://bucket/prefix, with nothing after it.")
    bucket = Bucket(address.bucket, address.prefix, Session())
    return BucketReports(bucket, _staging(bucket))


def _staging(bucket: Bucket) -> Path:
    """The folder, this user's alone and the same each time, in which runs are made until they are published."""
    place = Path(tempfile.gettempdir()) / f"stockkit-reports-{os.getuid()}"
    folder = place / f"{bucket.bucket}-{_sum(str(bucket).encode())[:12]}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        if place.is_symlink() or place.stat().st_uid != os.getuid():
            raise LakeError(f"{place} is another user's: set TMPDIR to a folder of your own.")
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise LakeError(f"cannot write {folder}: {error.strerror}. Set TMPDIR to a folder with space.") from error
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    paths = [path for path in paths if path.name not in (FILES, NOTE)]
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    try:
        return {name: path.read_bytes() for name, path in named.items() if _is_plain(name)}
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror}.") from error


def _is_plain(name: str) -> bool:
    """Whether a name leads to a file below its folder that is not hidden, nor can be made anew."""
    return (
        not name.endswith(bodies.ENDING)
        and "\\" not in name
        and not any(part.startswith(".") or not part for part in name.split("/"))
    )


def _manifest(files: Mapping[str, bytes], folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(files[MANIFEST])
        if RUN.fullmatch(manifest["run"]) and manifest["status"]:
            return dict(manifest)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise RunError(f"{folder} is no run that has ended: it has no run.json that says which.")


def _sums(body: bytes | None, name: str) -> dict[str, str]:
    try:
        sums = json.loads(body or b"")["files"]
        if all(_is_plain(file) and isinstance(total, str) for file, total in sums.items()):
            return dict(sums)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        pass
    raise LakeError(f"{name}/{FILES} is not what stockkit publishes: the run cannot go on.")


def _sum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _href(body: bytes) -> str:
    try:
        return str(json.loads(body)["href"]).partition("/")[0]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""


def _order(name: str) -> tuple[str, int, int]:
    """When a run started, and which publication of it a name is; what is no name of a run is older than all."""
    parts = RUN.fullmatch(name)
    return (parts[1], int(parts[2] or 1), int(parts[3] or 1)) if parts else ("", 0, 0)
