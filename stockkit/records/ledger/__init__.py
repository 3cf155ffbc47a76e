"""The ledger: forecasts sealed before the fact, in the table `forecasts`, one hash chain over all of its rows.

`stockkit.records.ledger.chain` says what is hashed. Rows are only added; every commit that adds some notes the number
and the hash of its last row in the table's log (``sealed_number``, ``sealed_hash``). `verify` holds the rows to the
chain, and the chain to what was noted.

A forecast counts as made when its commit happened: `stockkit.records.ledger.times` chains the times of the commits, and
`outcomes` calls late what was committed after its target session had closed.

What a chain cannot prove: that nobody rewrote the whole table together with its log, times included, or put an older
copy of both in their place; the clock of the machine that writes is trusted. So keep the head (`head`) somewhere else,
such as in a run's ``run.json``, or in a mail, which has a date, and give it to `verify`. Object lock or versions of a
bucket keep the log itself. A ledger keeps all commits of its log (``delta.enableExpiredLogCleanup`` is off).
"""

from __future__ import annotations

from stockkit.records.ledger.csv_export import export
from stockkit.records.ledger.scoring import BACKTEST, LEDGER, SEALED, closed, keep_scores, outcomes, score
from stockkit.records.ledger.sealing import TABLE, data_version, head, newest, seal, sealed, verify, versions

__all__ = ["BACKTEST", "LEDGER", "SEALED", "TABLE", "closed", "data_version", "export", "head", "keep_scores", "newest",
           "outcomes", "score", "seal", "sealed", "verify", "versions"]  # fmt: skip
