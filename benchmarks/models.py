"""Fitting, forecasting and scoring against the libraries underneath: `python -m benchmarks.models`."""

from __future__ import annotations

from benchmarks import lasso, scores, statistical


def main() -> None:
    """Each makes its own series, and checks first that both sides agree."""
    statistical.main()
    scores.main()
    lasso.main()


if __name__ == "__main__":
    main()
