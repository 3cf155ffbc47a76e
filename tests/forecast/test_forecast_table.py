"""The newest forecasts as rows of the table `forecasts`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.forecast.walk import forecast_table
from tests.records.ledger_rows import made


def test_the_table_to_seal_has_the_target_sessions_and_leaves_out_what_has_no_mean():
    rows = (
        made(["AAPL"], as_of="2023-09-15", horizon=5).assign(fold=[-1, -1]).drop(columns=["made_at", "target_session"])
    )
    rows.loc[0, "mean"] = np.nan
    table = forecast_table.table(rows, made_at=pd.Timestamp("2023-09-15 21:00", tz="UTC"))
    assert table["model"].tolist() == ["random_walk"]
    assert table["target_session"].tolist() == [pd.Timestamp("2023-09-22")]
    assert forecast_table.table(rows.assign(fold=0), made_at=table["made_at"][0]).empty
