"""What came true of sealed forecasts, and the files made of them."""

from __future__ import annotations

import io
import uuid
from unittest import mock

import deltalake
import nbformat
import numpy as np
import pandas as pd
import pytest

from stockkit import open_lake
from stockkit.errors import SymbolError
from stockkit.forecast.judge import scores, verdicts
from stockkit.forecast.walk import forecast_table
from stockkit.lake import commits, frames
from stockkit.lake.contracts import MADE, SEAL
from stockkit.market import schema
from stockkit.records import ledger
from stockkit.records.ledger import chain, csv_export, sealing
from tests.aws import environment
from tests.conftest import ROOT
from tests.market.test_schema import ODD
from tests.records.ledger_rows import VERSIONS, bars, days, made, redate, seal_then

PRICES = bars(count=120)
CLOSE = PRICES.set_index(["symbol", "date"])["close"]


def seal(lake, *parts):
    for part in parts:
        seal_then(lake, part)
    return lake


@pytest.fixture
def priced(lake):
    """A lake with prices to 2023-09-20, a Wednesday."""
    lake.write("prices", PRICES, symbols=["AAPL", "^GSPC"])
    return lake


def states(lake):
    return ledger.outcomes(lake)["state"].tolist()


def test_a_forecast_is_closed_once_the_prices_have_its_target_session(priced):
    seal(priced, made(["AAPL"], as_of="2023-09-18", horizon=2), made(["AAPL"], as_of="2023-09-19", horizon=2))
    assert states(priced) == ["closed"] * 2 + ["open"] * 2
    rows = ledger.closed(priced)
    moved = np.log(CLOSE["AAPL", "2023-09-20"] / CLOSE["AAPL", "2023-09-18"])
    np.testing.assert_allclose(rows["actual"], [moved, moved], rtol=1e-12)
    assert set(rows["fold"]) == {ledger.SEALED}
    assert {"symbol", "model", "as_of", "horizon", "mean", "sigma", "actual", "fold", "scale", "lo80", "hi95"} <= set(
        rows
    )
    assert rows.dtypes.astype(str).loc[["symbol", "as_of", "fold"]].tolist() == ["string", "datetime64[ns]", "int64"]


def test_the_scale_is_the_mean_absolute_move_that_was_known_at_the_as_of_session(priced):
    rows = ledger.closed(seal(priced, made(["AAPL"], as_of="2023-09-15", horizon=2)))
    known = np.log(CLOSE["AAPL"].loc[:"2023-09-15"].to_numpy())
    assert rows["scale"].tolist() == pytest.approx([np.abs(known[2:] - known[:-2]).mean()] * 2)


def test_of_two_forecasts_the_first_sealed_counts_even_if_the_other_claims_an_earlier_moment(priced):
    seal(priced, made(["AAPL"], mean=0.001), made(["AAPL"], mean=0.009, hour=1))
    assert states(priced) == ["closed", "closed", "repeated", "repeated"]
    assert set(ledger.closed(priced)["mean"]) == {0.001}


@pytest.mark.parametrize(("hour", "state"), [(21 + 22, "closed"), (21 + 23, "late")])
def test_a_forecast_made_after_its_target_session_closed_is_told_of_as_late_and_not_scored(priced, hour, state, caplog):
    """The session of 2023-09-19 closes at 20:00 UTC, hour 44 of the as-of day."""
    caplog.set_level("INFO")
    seal(priced, made(["AAPL"], as_of="2023-09-18", hour=hour))
    assert states(priced) == [state] * 2
    assert len(ledger.closed(priced)) == (2 if state == "closed" else 0)
    assert ("event=late rows=2" in caplog.text) == (state == "late")


def test_a_forecast_counts_as_made_when_its_commit_happened_whatever_it_says_of_itself(priced):
    """The session of 2023-09-19 closed at 20:00 UTC."""
    bell = pd.Timestamp("2023-09-19 20:00", tz="UTC")
    seal_then(priced, made(["AAPL"], models=["drift"]), bell - pd.Timedelta("1s"))
    seal_then(priced, made(["AAPL"], models=["ets"]), bell)
    ledger.seal(priced, made(["AAPL"], models=["lasso"]), **VERSIONS)
    assert states(priced) == ["closed", "late", "late"]
    assert ledger.outcomes(priced)["sealed_at"].is_monotonic_increasing
    assert ledger.closed(priced)["model"].tolist() == ["drift"]


def test_neither_a_forged_note_nor_a_forged_timestamp_of_a_commit_makes_a_forecast_earlier(priced):
    day = pd.Timestamp("2023-09-18 21:00", tz="UTC")
    redate(priced, ledger.seal(priced, made(["AAPL"], models=["drift"]), **VERSIONS), day)
    with mock.patch.object(sealing, "_now", return_value=day):
        ledger.seal(priced, made(["AAPL"], models=["lasso"]), **VERSIONS)
    assert states(priced) == ["late", "late"]
    assert ledger.verify(priced)["problem"].tolist() == ["backdated", "backdated"]


def test_rows_that_no_commit_of_the_ledger_added_are_undated_and_found(priced):
    seal(priced, made(["AAPL"], models=["drift"]))
    fresh = made(["AAPL"], models=["lasso"]).assign(**VERSIONS, made_at=pd.Timestamp("2023-09-18 21:00", tz="UTC"))
    linked = schema.cast(chain.link(fresh, number=1, previous=ledger.head(priced)), {**MADE, **SEAL})
    deltalake.write_deltalake(priced.delta("forecasts"), frames.to_arrow(linked), mode="append")
    assert states(priced) == ["closed", "undated"]
    assert ledger.verify(priced)["problem"].tolist() == ["not noted"]


def test_a_ledger_of_before_times_were_noted_goes_by_the_timestamps_of_its_commits(priced):
    """Its log is then kept whole, and the notes begin with the next seal."""
    part = made(["AAPL"]).assign(made_at=pd.Timestamp("2023-09-18 21:00", tz="UTC"))
    linked = schema.cast(chain.link(part.assign(**VERSIONS), number=0, previous=chain.GENESIS), {**MADE, **SEAL})
    notes = {"sealed_number": "1", "sealed_hash": str(linked["hash"].iloc[-1])}
    priced.commit("forecasts", lambda now: commits.Rows(frames.to_arrow(linked), None, notes))
    redate(priced, 0, part["made_at"].max())
    seal(priced, made(["AAPL"], as_of="2023-09-19"))
    assert states(priced) == ["closed"] * 4
    assert ledger.verify(priced).empty
    assert priced.delta("forecasts").metadata().configuration == {"delta.enableExpiredLogCleanup": "false"}


def test_a_forecast_whose_as_of_session_the_prices_lack_or_of_an_unknown_symbol_is_told_of(priced):
    priced.write("prices", PRICES[PRICES["date"] != "2023-09-18"], symbols=["AAPL", "^GSPC"])
    seal(priced, made(["AAPL"]), made(["MSFT"]))
    assert states(priced) == ["no close"] * 2 + ["open"] * 2
    assert ledger.closed(priced).empty


def test_outcomes_follow_prices_that_are_corrected_later(priced):
    seal(priced, made(["AAPL"]))
    before = ledger.closed(priced)["actual"].iloc[0]
    changed = PRICES.copy()
    changed.loc[(changed["symbol"] == "AAPL") & (changed["date"] == "2023-09-19"), ["high", "close"]] *= np.exp(0.1)
    priced.write("prices", changed, symbols=["AAPL", "^GSPC"])
    assert ledger.closed(priced)["actual"].iloc[0] == pytest.approx(before + 0.1)
    assert ledger.verify(priced).empty


def test_nothing_sealed_or_nothing_due_gives_no_rows_and_no_scores(priced):
    seal(priced, made()[:0])
    assert (len(ledger.closed(priced)), len(ledger.score(priced))) == (0, 0)
    seal(priced, made(as_of="2023-09-20"))
    assert (len(ledger.closed(priced)), len(ledger.score(priced))) == (0, 0)


def test_scores_of_the_ledger_stand_beside_those_of_the_backtest_and_replace_only_their_own(priced):
    seal(priced, *(made(as_of=day) for day in days(30, last="2023-09-15")))
    backtest = scores.score(ledger.closed(priced))
    ledger.keep_scores(priced, backtest, evidence=ledger.BACKTEST)
    version = priced.version("scores")
    scored = ledger.score(priced)
    assert set(scored["evidence"]) == {"ledger"}
    assert priced.read("scores").groupby("evidence").size().to_dict() == {"backtest": 4, "ledger": 4}
    assert ledger.keep_scores(priced, backtest, evidence=ledger.BACKTEST) == version + 1
    ledger.score(seal(priced, made(as_of="2023-09-18")))
    table = priced.read("scores").set_index(["evidence", "symbol", "model"])["n"]
    assert (table["backtest"].tolist(), table["ledger"].tolist()) == ([30] * 4, [31] * 4)


def test_scores_with_more_columns_and_a_table_without_evidence_are_taken(priced):
    seal(priced, made())
    plain = scores.score(ledger.closed(priced))
    priced.commit("scores", lambda now: commits.Rows(frames.to_arrow(plain), None))
    ledger.keep_scores(priced, plain.assign(later=0.5), evidence=ledger.BACKTEST)
    ledger.score(priced)
    table = priced.read("scores")
    assert table.groupby("evidence")["later"].max().isna().tolist() == [False, True]
    assert priced.verify()["problem"].tolist().count("contract broken") == 0


def judged(board, *, of_one, of_all):
    """The board, with these corrected p values in place of its own."""
    parts = [(board.by_symbol, of_one), (board.overall, of_all)]
    return scores.Board(*(part.assign(p_holm=np.where(part["model"] == "drift", p, np.nan)) for part, p in parts))


def test_a_claim_over_all_symbols_alone_is_the_verdict_of_the_overview_too(priced):
    seal(priced, *(made(as_of=day) for day in days(30, last="2023-09-15")))
    board = judged(scores.board(ledger.closed(priced)), of_one=0.5, of_all=0.01)
    ledger.keep_scores(priced, board.table(), evidence=ledger.BACKTEST)
    ledger.score(priced)
    verdict = verdicts.from_board(board)
    assert (verdict.beats, verdict.overall) == ((), ("drift",))
    assert forecast_table.verdict_figures(verdict, {})["beats"] == ["drift"]
    (cell,) = [
        cell
        for cell in nbformat.read(ROOT / "notebooks/00_overview.ipynb", 4).cells
        if "verdicts.from_board(" in cell.source
    ]
    read, show = cell.source.splitlines()
    names = {"book": priced, "symbols": ["AAPL", "^GSPC"], "scores": scores, "verdicts": verdicts, "ledger": ledger}
    exec(read, names)
    assert eval(show, names) == verdict
    table = names["stored"]
    kept = scores.from_table(table[table["evidence"] == ledger.BACKTEST])
    pd.testing.assert_frame_equal(kept.overall, board.overall, check_like=True)


def test_scores_of_before_those_over_all_symbols_were_kept_are_judged_by_symbol(priced):
    seal(priced, *(made(as_of=day) for day in days(30, last="2023-09-15")))
    board = judged(scores.board(ledger.closed(priced)), of_one=0.01, of_all=0.5)
    ledger.keep_scores(priced, board.by_symbol, evidence=ledger.BACKTEST)
    kept = scores.from_table(priced.read("scores"))
    assert (len(kept.overall), verdicts.from_board(kept).beats) == (0, verdicts.from_board(board).beats)
    assert verdicts.from_board(kept).beats


def test_a_symbol_without_a_sealed_random_walk_is_left_out_and_the_others_are_scored(priced, caplog):
    seal(priced, made(["AAPL"], models=["drift"]), made(["^GSPC"]))
    assert set(ledger.score(priced)["symbol"]) == {"^GSPC"}
    assert "event=not_scored symbol=AAPL" in caplog.text


def read(lake, key):
    options = {"keep_default_na": False, "na_values": [""], "dtype": {"symbol": str}, "float_precision": "round_trip"}
    return pd.read_csv(io.BytesIO(lake.files.read(key)), **options)


def test_a_file_holds_the_newest_forecast_of_each_model_with_prices_and_is_replaced_whole(priced):
    seal(priced, made(as_of="2023-09-18"), made(as_of="2023-09-19"), made(as_of="2023-09-19", mean=0.5))
    written = ledger.export(priced)
    assert written == {"AAPL": "predictions/AAPL.csv", "^GSPC": "predictions/^GSPC.csv"}
    rows = read(priced, "predictions/AAPL.csv")
    assert rows[["as_of", "model", "mean"]].values.tolist() == [
        ["2023-09-19", "drift", 0.001],
        ["2023-09-19", "random_walk", 0.001],
    ]
    assert rows["price"].tolist() == pytest.approx([CLOSE["AAPL", "2023-09-19"] * np.exp(0.001)] * 2)
    first = priced.files.read("predictions/AAPL.csv")
    ledger.export(priced, ["AAPL"])
    assert priced.files.read("predictions/AAPL.csv") == first
    ledger.export(priced, ["AAPL"], every=True)
    assert len(read(priced, "predictions/AAPL.csv")) == 6


def test_files_are_written_without_prices_and_numbers_are_read_back_as_they_were(lake):
    ledger.export(seal(lake, made(mean=0.1 + 0.2)))
    rows = read(lake, "predictions/AAPL.csv")
    assert rows["mean"].tolist() == [0.1 + 0.2] * 2
    assert rows["price"].isna().all()


def test_odd_symbols_are_safe_file_names_everywhere():
    names = [csv_export.file_name(symbol) for symbol in [*ODD, "CON", "NUL.L", "COM1", "LPT9.X", "COM10", "CONX"]]
    assert [name for name in names if set(name) & set('<>:"/\\|?*% ')] == []
    assert names[-6:] == ["CON_.csv", "NUL_.L.csv", "COM1_.csv", "LPT9_.X.csv", "COM10.csv", "CONX.csv"]
    assert len({name.lower() for name in names}) == len(names)


def test_a_symbol_without_forecasts_is_logged_the_others_are_written_and_a_hostile_one_is_refused(lake, caplog):
    seal(lake, made(["BRK.B"]))
    assert ledger.export(lake, ["MSFT", "BRK.B"]) == {"BRK.B": "predictions/BRK.B.csv"}
    assert "symbols=MSFT" in caplog.text
    with pytest.raises(SymbolError):
        ledger.export(lake, ["../../etc/passwd"])


def test_on_s3_odd_symbols_are_exported_and_forecasts_scored(seaweed_address, monkeypatch):
    environment(seaweed_address, monkeypatch)
    lake = open_lake(f"s3://lake/{uuid.uuid4().hex[:8]}", root=ROOT)
    lake.write("prices", PRICES, symbols=["AAPL", "^GSPC"])
    odd = ["^GSPC", "EURUSD=X", "BRK.B", "0005.HK", "M&M.NS"]
    written = ledger.export(seal(lake, made(odd)))
    assert set(written) == set(odd)
    assert all(read(lake, key)["symbol"].tolist() == [symbol] * 2 for symbol, key in written.items())
    assert ledger.score(lake)["n"].tolist() == [1, 1]
