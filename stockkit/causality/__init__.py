"""The causality audit: tests whether features, labels, folds or fitted models see the future.

`audit` runs a feature on bars that are cut, corrupted after a session, reordered, thinned out to one symbol and split,
and compares with the whole run, row by row. `audit_label` allows a label its horizon. `audit_fit` refits a model on
corrupted rows fold by fold; `audit_fitted` compares what a pipeline has learned with what it may have learned.

Example:
    >>> from stockkit import causality
    >>> causality.audit({"momentum": lambda bars: bars.groupby("symbol")["close"].pct_change(5)}).leaks
    []
"""

from stockkit.causality.checks import audit, audit_label
from stockkit.causality.fitted import audit_fitted
from stockkit.causality.folds import audit_fit
from stockkit.causality.verdicts import Audit, combined

__all__ = ["Audit", "audit", "audit_fit", "audit_fitted", "audit_label", "combined"]
