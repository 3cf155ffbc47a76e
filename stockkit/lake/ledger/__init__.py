"""The ledger: forecasts sealed before the fact, in the table `forecasts`, one hash chain over all of its rows.

`stockkit.lake.ledger.chain` says what is hashed. Rows are only added; every commit that adds some notes the number and
the hash of its last row in the table's log (``sealed_number``, ``sealed_hash``). `verify` holds the rows to the chain,
and the chain to what was noted.

What a chain cannot prove: that nobody rewrote the whole table together with its log, or put an older copy of both
in their place. So keep the head (`head`) somewhere else, such as in a run's ``run.json``, and give it to `verify`.
Notes last as long as the log does (Delta may drop commits older than 30 days); a head that was kept has no end. And
``made_at`` is what the maker of a forecast says; when its commit was made is in ``stockkit lake history forecasts``.
"""

from __future__ import annotations

from stockkit.lake.ledger.files import export
from stockkit.lake.ledger.scoring import BACKTEST, LEDGER, SEALED, closed, keep_scores, outcomes, score
from stockkit.lake.ledger.sealing import TABLE, data_version, head, newest, seal, sealed, verify, versions

__all__ = [
    "BACKTEST",
    "LEDGER",
    "SEALED",
    "TABLE",
    "closed",
    "data_version",
    "export",
    "head",
    "keep_scores",
    "newest",
    "outcomes",
    "score",
    "seal",
    "sealed",
    "verify",
    "versions",
]
