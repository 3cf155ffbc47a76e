"""A folder of price files: names in any case, files of many symbols, Parquet as pandas, Spark and yfinance write it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ParamError, SourceError
from stockkit.files import Folder
from stockkit.intake import ingest
from stockkit.intake.sources import open_source
from stockkit.intake.sources.folder import PriceFolder
from stockkit.market import simulate
from tests.conftest import ROOT

SYMBOLS = ["AAA", "BRK.B", "CCC"]


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate.bars(SYMBOLS, count=6, last="2021-03-31", rng=np.random.default_rng(11))


@pytest.fixture(scope="module")
def prices(bars, tmp_path_factory):
    """What the bars are as prices, from a file a symbol."""
    folder = tmp_path_factory.mktemp("plain")
    for symbol, rows in bars.groupby("symbol"):
        (folder / f"{symbol}.csv").write_bytes(simulate.csv_bytes(rows))
    return read(folder, tmp_path_factory.mktemp("lake")).prices


def read(folder, place, symbols=SYMBOLS):
    from stockkit.lake.tables import Lake

    return ingest.clean_all(ingest.fetch(Lake(Folder(place), ROOT), f"folder:{folder}", symbols))


def same(got, prices):
    assert got.missing == {}
    assert got.rejects.empty
    pd.testing.assert_frame_equal(got.prices.drop(columns="known_at"), prices.drop(columns="known_at"))


def one_file(folder, bars):
    bars.sample(frac=1, random_state=3).to_csv(folder / "all.csv", index=False)


def one_file_semicolons(folder, bars):
    bars.rename(columns={"symbol": "Ticker"}).to_csv(folder / "all.csv", index=False, sep=";", decimal=",")


def small_letters(folder, bars):
    for symbol, rows in bars.groupby("symbol"):
        (folder / f"{symbol.lower()}.CSV").write_bytes(simulate.csv_bytes(rows))


def one_parquet(folder, bars):
    bars.assign(symbol=bars["symbol"].astype("category")).to_parquet(folder / "all.parquet")


def parquet_each(folder, bars):
    for symbol, rows in bars.groupby("symbol"):
        rows.drop(columns="symbol").set_index("date").to_parquet(folder / f"{symbol}.parquet")


def parquet_with_zones(folder, bars):
    for symbol, rows in bars.groupby("symbol"):
        day = rows["date"].dt.tz_localize("America/New_York")
        rows.assign(Date=day).drop(columns=["symbol", "date"]).to_parquet(folder / f"{symbol}.parquet")


def partitions(folder, bars):
    for symbol, rows in bars.groupby("symbol"):
        (folder / f"symbol={symbol}").mkdir()
        for k in range(2):
            rows.iloc[k::2].drop(columns="symbol").to_parquet(folder / f"symbol={symbol}" / f"part-{k}.parquet")


def parts(folder, bars):
    for k in range(3):
        bars.iloc[k::3].to_parquet(folder / f"part-0000{k}.parquet")


def download(folder, bars):
    wide = bars.rename(columns=str.capitalize).pivot(index="Date", columns="Symbol")
    wide.columns.names = ["Price", "Ticker"]
    wide.to_csv(folder / "download.csv")


def download_parquet(folder, bars):
    wide = bars.rename(columns=str.capitalize).pivot(index="Date", columns="Symbol")
    wide.columns = wide.columns.set_names(["Price", "Ticker"])
    wide.to_parquet(folder / "download.parquet")


WAYS = [one_file, one_file_semicolons, small_letters, one_parquet, parquet_each, parquet_with_zones, partitions, parts,
        download, download_parquet]  # fmt: skip


@pytest.mark.parametrize("write", WAYS, ids=lambda way: way.__name__)
def test_a_folder_is_read_as_it_was_exported(write, bars, prices, tmp_path):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine", bars)
    (tmp_path / "mine" / "README.txt").write_text("about these files")
    same(read(tmp_path / "mine", tmp_path / "lake"), prices)


@pytest.mark.parametrize("write", [one_file, one_parquet], ids=lambda way: way.__name__)
def test_the_source_may_be_one_file(write, bars, prices, tmp_path):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine", bars)
    (file,) = (tmp_path / "mine").iterdir()
    same(read(file, tmp_path / "lake"), prices)


def test_a_file_of_one_symbol_is_kept_byte_for_byte(tmp_path):
    body = b"Date;Open;High;Low;Close;Ticker\r\n2021-03-31;1,5;1,5;1,5;1,5;AAA\r\n"
    (tmp_path / "aaa.csv").write_bytes(body)
    assert PriceFolder("x", tmp_path).fetch("AAA") == body
    assert PriceFolder("x", tmp_path).file("AAA") == "aaa.csv"


def test_of_a_file_of_many_symbols_each_has_its_own_lines(tmp_path):
    (tmp_path / "all.csv").write_text("# ours\ndate,open,high,low,close,symbol\n2021-03-30,1,1,1,1,AAA\n"
                                      "2021-03-31,2,2,2,2,bbb\n\n2021-03-31,3,3,3,3,AAA\n")  # fmt: skip
    source = PriceFolder("x", tmp_path)
    assert source.fetch("AAA").decode().splitlines()[1:] == [
        "date,open,high,low,close,symbol", "2021-03-30,1,1,1,1,AAA", "2021-03-31,3,3,3,3,AAA"
    ]  # fmt: skip
    assert source.symbols() == ["AAA", "ALL", "BBB"]
    assert source.file("AAA") == "all.csv"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["aaa.csv", "Aaa.txt"], "Aaa.txt, aaa.csv are all of this symbol: keep one"),
        (["2020.csv", "2021.csv"], "2020.csv, 2021.csv all have rows of it: put them into one file"),
        (["AAB.csv"], "AAA is not in the source: .* Did you mean 'AAB'"),
        (["aaa_us_d.csv"], "AAA is not in the source: .* It has .*"),
        (["broken.parquet"], "broken.parquet cannot be read as Parquet"),
    ],
)
def test_two_files_of_a_symbol_or_none_are_refused_by_name(files, says, tmp_path):
    for name in files:
        row = "2021-03-31,1,1,1,1" + (",AAA" if name[0] == "2" else "")
        (tmp_path / name).write_text("date,open,high,low,close" + (",symbol" if name[0] == "2" else "") + f"\n{row}\n")
    with pytest.raises(SourceError, match=says):
        PriceFolder("x", tmp_path).fetch("AAA")


def test_a_delta_table_is_no_folder_of_files(tmp_path):
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(SourceError, match="Delta table"):
        PriceFolder("x", tmp_path).fetch("AAA")


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("date,open,high,low,close,symbol\n2021-03-30,1,1,1,1,AAA\n2021-03-30,1,1,1,1,BBB\n")
    assert b"BBB" not in PriceFolder("x", tmp_path).fetch("AAA")
    path.write_text("date,open,high,low,close,symbol\n2021-03-30,77,77,77,77,AAA\n2021-03-30,1,1,1,1,BBB\n")
    assert b"77" in PriceFolder("x", tmp_path).fetch("AAA")


def test_an_unknown_volume_is_null_in_tables_and_sql_and_writing_it_again_makes_no_version(tmp_path):
    from stockkit.lake.tables import Lake

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "^SPX.csv").write_text(
        "Date,Open,High,Low,Close\n2021-03-30,1,1,1,1\n2021-03-31,1.1,1.1,1.1,1.1\n"
    )
    (tmp_path / "mine" / "AAA.csv").write_text("Date,Open,High,Low,Close,Volume\n2021-03-30,1,1,1,1,5\n"
                                               "2021-03-31,1,1,1,1,\n")  # fmt: skip
    lake = Lake(Folder(tmp_path / "lake"), ROOT)
    got = ingest.clean_all(ingest.fetch(lake, f"folder:{tmp_path / 'mine'}", ["^SPX", "AAA"]), allow=[])
    for _ in range(2):
        assert lake.write("prices", got.prices, symbols=["^SPX", "AAA"]) == 0
    assert str(lake.delta("prices").to_pyarrow_table().schema.field("volume").type) == "int64"
    pd.testing.assert_frame_equal(lake.read("prices"), got.prices.sort_values(["symbol", "date"], ignore_index=True))
    answer = lake.sql(
        "SELECT count(*) AS n, count(volume) AS known, sum(volume) AS total FROM prices WHERE volume IS NULL"
    )
    assert answer.iloc[0].tolist()[:2] == [3, 0]
    assert lake.sql("SELECT sum(volume) AS total FROM prices")["total"].tolist() == [5]
    assert lake.verify().empty
    assert got.layouts().loc["^SPX", "remarks"] == "2 rows without a volume"


def test_an_older_table_without_unknown_volumes_takes_them(tmp_path, bars):
    from stockkit.lake.tables import Lake

    lake = Lake(Folder(tmp_path / "lake"), ROOT)
    (tmp_path / "mine").mkdir()
    one_file(tmp_path / "mine", bars)
    before = read(tmp_path / "mine", tmp_path / "lake").prices
    assert lake.write("prices", before, symbols=SYMBOLS) == 0
    after = before.assign(volume=before["volume"].where(before["symbol"] != "AAA").astype("float64"))
    assert lake.write("prices", after, symbols=SYMBOLS) == 1
    assert lake.read("prices", symbols=["CCC"])["volume"].dtype == "int64"
    assert lake.read("prices", symbols=["AAA"])["volume"].isna().all()


def test_a_source_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ParamError, match="does not exist"):
        open_source(f"folder:{tmp_path / 'nowhere'}", root=ROOT)


def test_the_splits_and_dividends_of_a_tiingo_file_are_applied_to_its_prices_as_traded(tmp_path):
    from stockkit.lake.tables import Lake

    header = "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor"
    rows = ["2020-08-28T00:00:00.000Z,400,400,400,400,10,100,100,100,100,40,0.0,1.0",
            "2020-08-31T00:00:00.000Z,101,101,101,101,40,101,101,101,101,40,0.2,4.0"]  # fmt: skip
    (tmp_path / "AAA.csv").write_text("\n".join([header, *rows]) + "\n")
    got = ingest.clean_all(ingest.fetch(Lake(Folder(tmp_path / "lake"), ROOT), f"folder:{tmp_path}", ["AAA"]))
    assert got.prices["close"].tolist() == [100, 101]
    assert got.prices["close_raw"].tolist() == [400, 101]
    assert got.prices["dividend"].tolist() == [0, 0.2]
    (tmp_path / "AAA.csv").write_text("date,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor\n"
                                      "2020-08-31,101,101,101,101,40,0.2,4.0\n")  # fmt: skip
    got = ingest.clean_all(ingest.fetch(Lake(Folder(tmp_path / "other"), ROOT), f"folder:{tmp_path}", ["AAA"]))
    assert got.prices["split_factor"].tolist() == [1.0]
    assert got.layouts().loc["AAA", "prices"] == "adjusted for splits and dividends, not as traded"


def test_prices_below_zero_that_are_allowed_are_written_and_have_no_features(tmp_path):
    from stockkit.lake import feature_table
    from stockkit.lake.tables import Lake

    bars = simulate.bars(["CL"], count=60, last="2021-03-31", rng=np.random.default_rng(11))
    bars.loc[50, ["low", "close"]] = -37.63
    (tmp_path / "CL.csv").write_bytes(simulate.csv_bytes(bars))
    lake = Lake(Folder(tmp_path / "lake"), ROOT)
    fetched = ingest.fetch(lake, f"folder:{tmp_path}", ["CL"])
    got = ingest.clean_all(fetched, allow=["non_positive_price"])
    lake.write("prices", got.prices, symbols=["CL"])
    assert lake.read("prices")["close"].min() == -37.63
    assert lake.verify().empty
    feature_table.update(lake, ["ret_1", "volume_z_20"])
    stored = lake.read("features")
    assert stored["ret_1"].isna().to_numpy().nonzero()[0].tolist() == [0, 50]
    assert stored.loc[[49, 51], "volume_z_20"].notna().all()


def test_features_of_what_has_no_volume_are_up_to_date_when_nothing_changed(tmp_path):
    from stockkit.lake import feature_table
    from stockkit.lake.tables import Lake

    bars = simulate.bars(["AAA"], count=60, last="2021-03-31", rng=np.random.default_rng(11)).drop(columns="volume")
    bars.drop(columns="symbol").to_csv(tmp_path / "AAA.csv", index=False)
    lake = Lake(Folder(tmp_path / "lake"), ROOT)
    prices = ingest.clean_all(ingest.fetch(lake, f"folder:{tmp_path}", ["AAA"])).prices
    lake.write("prices", prices.iloc[:-1], symbols=["AAA"])
    feature_table.update(lake, ["ret_1", "volume_z_20"])
    lake.write("prices", prices, symbols=["AAA"])
    update = feature_table.update(lake, ["ret_1", "volume_z_20"])
    assert (update.full, list(update.since)) == ([], ["AAA"])
    assert update.rows == 1
