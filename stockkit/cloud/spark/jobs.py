"""The command lines of the jobs in ``deploy/jobs``: read by hand and by Glue, which adds arguments of its own."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from stockkit import features
from stockkit.cloud.spark import feature_job, plugin, session, signals
from stockkit.errors import ParamError, StockkitError, did_you_mean
from stockkit.lake.tables import open_lake
from stockkit.market import sessions
from stockkit.market.signals import FOUR_HOURS, Rule
from stockkit.market.symbols import check_symbols
from stockkit.stream import setup

EXIT_FAILED, EXIT_USAGE = 1, 2
GLUE_ARGUMENTS = re.compile(
    r"--(JOB_NAME|JOB_ID|JOB_RUN_ID|SECURITY_CONFIGURATION|TempDir|job-bookmark-(option|from|to)|redshift.*|enable-.*|"
    r"extra-.*|additional-python-modules|python-modules-installer-option|encryption-type|conf|job-language|class|"
    r"scriptLocation|spark-event-logs-path|user-jars-first|use-postgres-driver|executor-cores|datalake-formats|"
    r"continuous-log-.*|disable-proxy.*|auto-scal.*|write-shuffle-.*)"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the package."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving."""
        raise ParamError(f"{self.prog}: {message}")


def compute_features(words: Sequence[str]) -> int:
    """Run the job ``deploy/jobs/features.py``; the last line it prints is the table's version. Returns an exit code.

    0: committed, or all rows were there already. 1: it failed, the table is as it was. 2: the command is wrong.
    """
    try:
        arguments = _arguments(words)
        user_module = plugin.read(arguments.module) if arguments.module else None
        if user_module:
            user_module.load()
        named = [*(arguments.names or ()), *(features.names(*arguments.groups) if arguments.groups else ())]
        lake = open_lake(arguments.lake)
        sessions.zone(arguments.calendar)
        features.check_names(named or None, arguments.dtype)  # here and not in ten seconds, when Spark has started
        symbols = feature_job.symbols_of(lake, arguments.source, arguments.symbols)
        lake.version(arguments.table)
        spark = session.session("stockkit features", cores=arguments.cores)
        version = feature_job.features_to_lake(
            spark, lake, named or None, symbols, source=arguments.source, table=arguments.table,
            dtype=arguments.dtype, calendar=arguments.calendar, plugin=user_module,
        )  # fmt: skip
    except StockkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ParamError) else EXIT_FAILED
    print(f"{arguments.table} version {version}: {lake.count(arguments.table):,} rows in {lake.files}")
    return 0


def stream_signals(words: Sequence[str]) -> int:
    """Run the job ``deploy/jobs/signals.py`` until it is ended, or with ``--once`` until the source is read.

    Returns an exit code. 0: the source was read. 1: it failed, and goes on where it was when it is started again.
    2: the command is wrong.
    """
    try:
        arguments = _stream_arguments(words)
        symbols = check_symbols(arguments.symbols) if arguments.symbols else ()
        lake = open_lake(arguments.lake)
        rule = Rule(arguments.fast, arguments.slow, round(arguments.gap * 1e6), setup.splits(lake))
        settings = signals.Settings(
            arguments.source, arguments.checkpoint, rule,
            frozenset(symbols), arguments.brokers, arguments.limit,
            None if arguments.once else arguments.every,
        )  # fmt: skip
        spark = session.session("stockkit signals", cores=arguments.cores)
        signals.run(spark, lake, settings)
    except StockkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ParamError) else EXIT_FAILED
    stored = [table for table in ("ticks", "signals", "dead_letters") if lake.version(table) is not None]
    counts = ", ".join(f"{table}: {lake.count(table):,} rows" for table in stored)
    print(f"{counts or 'nothing yet'} in {lake.files}")
    return 0


def _stream_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="signals.py", description="Ticks and their signals on Spark.", allow_abbrev=False)
    parser.add_argument("--lake", required=True, help="a folder, or s3://bucket/prefix")
    parser.add_argument("--source", required=True, help="files:FOLDER of JSON lines, or kafka:TOPIC")
    parser.add_argument("--checkpoint", required=True, help="a folder, of this query alone")
    parser.add_argument("--brokers", default="", help="of Kafka, as host:port,host:port")
    parser.add_argument("--symbols", nargs="+", action=_Names, help="those listened to; default: any")
    parser.add_argument("--fast", type=int, default=5, help="prices in the fast average")
    parser.add_argument("--slow", type=int, default=20, help="prices in the slow average")
    parser.add_argument("--gap", type=float, default=FOUR_HOURS / 1e6, help="seconds of pause that start them anew")
    parser.add_argument("--limit", type=int, default=1_000, help="files, or records of Kafka, in a batch at most")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from batch to batch")
    parser.add_argument("--once", action="store_true", help="read what is there, and end")
    parser.add_argument("--cores", type=int, default=2, help="tasks at once; of a session on this machine")
    return _known(parser, words)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="features.py", description="Compute features on Spark.", allow_abbrev=False)
    parser.add_argument("--lake", required=True, help="a folder, or s3://bucket/prefix")
    parser.add_argument("--names", nargs="+", action=_Names, help="features, by comma or blank; default: basic")
    parser.add_argument("--groups", nargs="+", action=_Names, help="groups of features")
    parser.add_argument("--symbols", nargs="+", action=_Names, help="whose rows; default: all that have prices")
    parser.add_argument("--source", default="prices", help="the table to read")
    parser.add_argument("--table", default="features", help="the table to write")
    parser.add_argument("--dtype", default="float64", help="float64 or float32")
    parser.add_argument("--calendar", default=sessions.DEFAULT, help="the exchange, as an ISO market code")
    parser.add_argument("--module", help="a Python file that registers features")
    parser.add_argument("--cores", type=int, default=2, help="tasks at once; of a session on this machine")
    return _known(parser, words)


def _known(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The arguments that a parser knows; one that neither it nor Glue knows is an error."""
    known, rest = parser.parse_known_args(_without_glue_arguments(words))
    if rest:
        options = [option for action in parser._actions for option in action.option_strings]
        parser.error(f"there is no argument {rest[0]!r}.{did_you_mean(rest[0], options, 'See --help.')}")
    return known


class _Names(argparse.Action):
    """Values apart by commas or blanks: on Glue an argument is one value."""

    def __call__(self, parser: object, namespace: object, values: object, option: object = None) -> None:
        text = " ".join(values if isinstance(values, list) else [str(values)])
        setattr(namespace, self.dest, text.replace(",", " ").split() or None)


def _without_glue_arguments(words: Sequence[str]) -> list[str]:
    """The words without the arguments that Glue hands to a script for itself, and their values."""
    kept, ours = list[str](), True
    for word in words:
        if word.startswith("--"):
            ours = not GLUE_ARGUMENTS.fullmatch(word.partition("=")[0])
        kept += [word] if ours else []
    return kept
