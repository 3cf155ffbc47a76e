"""Finding out what the raw zone holds, one partition a source and symbol, and what changed since the last time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stockkit.aws_errors import explained
from stockkit.errors import LakeError
from stockkit.files import Files
from stockkit.lake import raw
from stockkit.lake.catalogue import glue

MEMORY = "crawl.json"
POLL, LIMIT = 5.0, 1800.0  # seconds
Partitions = dict[glue.Partition, list[str]]


@dataclass(frozen=True)
class Crawl:
    """What a crawl changed. `partitions_added` is None where a crawler did not tell."""

    tables_changed: int
    partitions_added: int | None
    partitions_removed: int = 0
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For example "1 table changed, 6 partitions added"."""
        added = "partitions not told" if self.partitions_added is None else _count(self.partitions_added, "added")
        removed = f", {_count(self.partitions_removed, 'removed')}" if self.partitions_removed else ""
        return f"{self.tables_changed} table{'' if self.tables_changed == 1 else 's'} changed, {added}{removed}"

    __repr__ = __str__


def _count(number: int, what: str) -> str:
    return f"{number} partition{'' if number == 1 else 's'} {what}"


def crawl(files: Files, catalogue: glue.Catalogue | None, show: Callable[[str], Any] = print) -> Crawl:
    """Crawl the raw zone by the crawler that the catalogue names, into the catalogue, or without one by listing."""
    if catalogue is None:
        return by_listing(files)
    if catalogue.crawler:
        return with_crawler(catalogue.client, catalogue.crawler, show=show)
    return into_glue(files, catalogue)


def discover(files: Files) -> Partitions:
    """The partitions of the raw zone, each with the columns that its source's CSVs have now."""
    partitions: Partitions = {}
    for source, symbols in raw.holdings(files).items():
        columns = _columns(files, f"raw/source={source}/symbol={symbols[0]}")
        partitions |= dict.fromkeys([(source, symbol) for symbol in symbols], columns)
    return partitions


def _columns(files: Files, folder: str) -> list[str]:
    names = [name for name in files.names(folder) if raw.NAME.fullmatch(name)]
    newest = max(names, key=raw.order, default="")
    return glue.csv_columns((files.read(f"{folder}/{newest}") or b"")[:4096]) if names else []


def difference(before: Mapping[glue.Partition, Any], now: Mapping[glue.Partition, Any], *, described: bool) -> Crawl:
    """What changed between two crawls; `described` says that the table's own description did."""
    added, removed = now.keys() - before.keys(), before.keys() - now.keys()
    names = tuple("/".join(key) for key in sorted(added | removed))
    return Crawl(int(bool(added or removed or described)), len(added), len(removed), names)


def by_listing(files: Files) -> Crawl:
    """Crawl a lake that has no Glue catalogue; what was found is remembered in ``crawl.json`` beside the tables."""
    memory = json.loads(files.read(MEMORY) or b"[]")
    before: Partitions = {(source, symbol): columns for source, symbol, columns in memory}
    now = discover(files)
    described = any(before[key] != now[key] for key in before.keys() & now.keys())
    changes = difference(before, now, described=described)
    if changes.tables_changed:
        rows = [[source, symbol, columns] for (source, symbol), columns in sorted(now.items())]
        files.note(MEMORY, (json.dumps(rows, indent=0) + "\n").encode())
    return changes


def into_glue(files: Files, catalogue: glue.Catalogue) -> Crawl:
    """Crawl the raw zone of an S3 lake and register what is found; the catalogue is the memory."""
    now = discover(files)
    location = files.uri("raw/")
    widest = max(now.values(), key=len, default=[])
    if not now:
        return Crawl(0, 0)
    described = catalogue.register(glue.raw_table(location, widest))
    before = dict.fromkeys(catalogue.partitions(glue.RAW))
    catalogue.add_partitions(location, {key: now[key] for key in now.keys() - before.keys()})
    catalogue.remove_partitions(before.keys() - now.keys())
    return difference(before, now, described=described)


def with_crawler(
    client: Any,
    name: str,
    *,
    show: Callable[[str], Any] = print,
    wait: Callable[[float], Any] = time.sleep,
    limit: float = LIMIT,
) -> Crawl:
    """Start a Glue crawler (or join its run), wait for its end, and tell what it changed.

    Args:
        client: a Glue client.
        name: the crawler's.
        show: gets a line of progress at each look.
        wait: waits some seconds.
        limit: seconds after which waiting is given up; the crawler goes on.

    Raises:
        LakeError: there is no such crawler, it failed, or it did not end in time.
    """
    with explained(f"cannot start the crawler {name!r}"):
        try:
            client.start_crawler(Name=name)
        except client.exceptions.CrawlerRunningException:
            show(f"crawler {name}: already running")
    spent = 0.0
    with explained(f"cannot look after the crawler {name!r}"):
        while (crawler := client.get_crawler(Name=name)["Crawler"])["State"] != "READY":
            if spent >= limit:
                raise LakeError(f"the crawler {name!r} did not end in {limit:g} s; it goes on, look at it in Glue.")
            show(f"crawler {name}: {crawler['State'].lower()}, {spent:.0f} s")
            wait(POLL)
            spent += POLL
        last = crawler.get("LastCrawl", {})
        if last.get("Status") != "SUCCEEDED":
            why = last.get("ErrorMessage") or f"status {last.get('Status')}"
            raise LakeError(f"the crawler {name!r} failed: {why} (log group {last.get('LogGroup', 'not told')}).")
        return _reported(client, name)


def _reported(client: Any, name: str) -> Crawl:
    metrics = client.get_crawler_metrics(CrawlerNameList=[name])["CrawlerMetricsList"]
    tables = sum(metrics[0].get(f"Tables{what}", 0) for what in ("Created", "Updated", "Deleted")) if metrics else 0
    crawls = client.list_crawls(CrawlerName=name, MaxResults=1)["Crawls"]
    partitions = _nested(crawls[0].get("Summary") if crawls else None).get("PARTITION")
    if partitions is None:
        return Crawl(tables, None)
    counts = _nested(partitions)
    return Crawl(tables, _counted(counts.get("ADD")), _counted(counts.get("DELETE")))


def _nested(value: Any) -> dict[str, Any]:
    """A mapping, also where it arrives as JSON in a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _counted(value: Any) -> int:
    count = _nested(value).get("Count", value)
    return int(count) if isinstance(count, int | float) or str(count).isdigit() else 0
