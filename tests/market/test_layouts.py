"""Files as people have them: a table of layouts, each with its text and the rows that it holds, or the refusal."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ParamError
from stockkit.market import clean, corporate_actions
from stockkit.market.answers import Answer, Choices

FETCHED = pd.Timestamp("2023-12-31", tz="UTC")
BARS = [
    ("2023-09-19", 177.52, 179.63, 177.13, 179.07, 51826900),
    ("2023-09-20", 179.26, 179.7, 175.4, 175.49, 58436200),
    ("2023-09-21", 174.55, 176.3, 173.86, 173.93, 63149100),
]
NONE = [(*bar[:5], None) for bar in BARS]


def run(text: str | bytes, symbol: str = "AAPL", *, calendar: str = "XNYS", **choices) -> clean.Cleaned:
    body = text if isinstance(text, bytes) else text.encode()
    answer = Answer(symbol, body, f"{symbol}.csv", FETCHED)
    return clean.clean(
        {symbol: [answer]}, corporate_actions.none(), start=pd.Timestamp("1800-01-01"),
        as_of=pd.Timestamp("2030-01-01"), calendar=calendar, choices=Choices(**choices),
    )  # fmt: skip


def rows(cleaned: clean.Cleaned) -> list[tuple]:
    assert not cleaned.failures, cleaned.failures
    columns = [cleaned.prices[name] for name in ("open", "high", "low", "close_raw")]
    volume = [None if np.isnan(v) else int(v) for v in cleaned.prices["volume"]]
    return list(zip(cleaned.prices["date"].dt.strftime("%Y-%m-%d"), *columns, volume, strict=True))


def written(row, day="{:%Y-%m-%d}", number="{:.2f}", volume="{}"):
    """A bar's six fields as texts."""
    return [day.format(pd.Timestamp(row[0])), *(number.format(x) for x in row[1:5]), volume.format(row[5])]


def table(header, template="{0},{1},{2},{3},{4},{5}", end="\n", **how):
    """A file of the three bars, a line each as `template` (date, open, high, low, close, volume) says."""
    return end.join([header, *(template.format(*written(row, **how)) for row in BARS)]) + end


GERMAN = {"day": "{:%d.%m.%Y}"}


def comma(text: str) -> str:
    return re.sub(r"(?<!\d\d\.)(\d)\.(\d\d)(?![\d.])", r"\1,\2", text)


PLAIN = table("Date,Open,High,Low,Close,Volume")
READ = {
    "plain": (PLAIN, BARS, "daily bars"),
    "Alpha Vantage adjusted": (
        table("timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient",
              "{0},{1},{2},{3},{4},9.1,{5},0.0,1.0"), BARS, "Alpha Vantage"),
    "Nasdaq": (table("Date,Close/Last,Volume,Open,High,Low", "{0},${4},{5},${1},${2},${3}", day="{:%m/%d/%Y}"),
               BARS, "Nasdaq"),
    "Nasdaq quoted with blanks": (
        table('"Date", "Close/Last", "Volume", "Open", "High", "Low"',
              '"{0}","${4}","{5}","${1}","${2}","${3}"', day="{:%m/%d/%Y}", volume="{:,}"), BARS, "Nasdaq"),
    "Nasdaq index": (table("Date,Close/Last,Volume,Open,High,Low", "{0},{4},--,{1},{2},{3}", day="{:%m/%d/%Y}"),
                     NONE, "Nasdaq"),
    "Yahoo": (table("Date,Open,High,Low,Close,Adj Close,Volume", "{0},{1},{2},{3},{4},170.1,{5}"), BARS, "Yahoo"),
    "Yahoo's page": (table("Date,Open,High,Low,Close*,Adj Close**,Volume", '"{0}",{1},{2},{3},{4},170.1,"{5}"',
                           day="{:%b %d, %Y}", volume="{:,}"), BARS, "Yahoo"),
    "yfinance history": (
        table("Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
              "{0} 00:00:00-04:00,{1},{2},{3},{4},{5},0.0,0.0"), BARS, "yfinance, adjusted"),
    "yfinance history unadjusted": (
        table("Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits",
              "{0} 00:00:00-04:00,{1},{2},{3},{4},1.5,{5},0.0,0.0"), BARS, "yfinance"),
    "yfinance download": (
        table("Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,",
              "{0},{4},{2},{3},{1},{5}"), BARS, "yfinance, adjusted"),
    "yfinance download, two header lines": (
        table("Price,Adj Close,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL,AAPL",
              "{0},1,{4},{2},{3},{1},{5}"), BARS, "yfinance"),
    "yfinance download, no symbols": (
        table("Price,Close,High,Low,Open,Volume\nDate,,,,,", "{0},{4},{2},{3},{1},{5}"), BARS, "yfinance, adjusted"),
    "yfinance download of two": (
        table("Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n"
              "Ticker,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT\nDate,,,,,,,,,,",
              "{0},{4},1,{2},1,{3},1,{1},1,{5},7") + "2023-09-22,,1,,1,,1,,1,,7\n", BARS, "yfinance, adjusted"),
    "yfinance download by symbol": (
        table("Ticker,MSFT,MSFT,MSFT,MSFT,MSFT,AAPL,AAPL,AAPL,AAPL,AAPL\n"
              "Price,Open,High,Low,Close,Volume,Open,High,Low,Close,Volume\nDate,,,,,,,,,,",
              "{0},1,1,1,1,7,{1},{2},{3},{4},{5}"), BARS, "yfinance, adjusted"),
    "older yfinance download of two": (
        table(",Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n"
              ",AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT\nDate,,,,,,,,,,",
              "{0},{4},1,{2},1,{3},1,{1},1,{5},7"), BARS, "yfinance, adjusted"),
    "Stooq web index": (table("Date,Open,High,Low,Close", "{0},{1},{2},{3},{4}"), NONE, "daily bars"),
    "Stooq in Polish": (table("Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen"), BARS, "Stooq, Polish"),
    "Stooq bulk": (
        table("<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
              "AAPL.US,D,{0},000000,{1},{2},{3},{4},{5},0", day="{:%Y%m%d}"), BARS, "Stooq, bulk"),
    "Tiingo": (
        table("date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor",
              "{0}T00:00:00.000Z,{4},{2},{3},{1},{5},1,1,1,1,1,0.0,1.0"), BARS, "Tiingo"),
    "Tiingo with symbols": (
        table("symbol,date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor",
              "AAPL,{0} 00:00:00+00:00,{4},{2},{3},{1},{5},1,1,1,1,1,0.0,1.0"), BARS, "Tiingo"),
    "Tiingo adjusted only": (table("date,adjClose,adjHigh,adjLow,adjOpen,adjVolume", "{0},{4},{2},{3},{1},{5}"),
                             BARS, "Tiingo, adjusted only"),
    "EODHD": (table("Date,Open,High,Low,Close,Adjusted_close,Volume", "{0},{1},{2},{3},{4},1.5,{5}"), BARS, "EODHD"),
    "Investing": (table('"Date","Price","Open","High","Low","Vol.","Change %"',
                        '"{0}","{4}","{1}","{2}","{3}","{5}M","-0.89%"', day="{:%m/%d/%Y}", volume="51.83"),
                  [(*bar[:5], 51830000) for bar in BARS], "Investing"),
    "Investing with names of months": (
        table("Date,Price,Open,High,Low,Vol.,Change %", '"{0}",{4},{1},{2},{3},-,0.10%', day="{:%b %d, %Y}"),
        NONE, "Investing"),
    "Investing in German": (
        comma(table('"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"',
                    '"{0}","{4}","{1}","{2}","{3}","{5}","-0,89%"', **GERMAN)), BARS, "Investing, German"),
    "TradingView ISO": (table("time,open,high,low,close,Volume"), BARS, "TradingView"),
    "TradingView Unix": (
        table("time,open,high,low,close,Volume").replace("2023-09-19", "1695130200").replace("2023-09-20", "1695216600")
        .replace("2023-09-21", "1695303000"), BARS, "TradingView"),
    "TradingView without volume": (table("time,open,high,low,close,SMA", "{0}T13:30:00Z,{1},{2},{3},{4},5"),
                                   NONE, "TradingView"),
    "Interactive Brokers": (table(",date,open,high,low,close,volume,average,barCount",
                                  "0,{0},{1},{2},{3},{4},{5}.0,178.2,99"), BARS, "Interactive Brokers"),
    "Interactive Brokers index": (table("date,open,high,low,close,volume,average,barCount",
                                        "{0},{1},{2},{3},{4},-1,-1,-1", day="{:%Y%m%d}"), NONE, "Interactive Brokers"),
    "Kaggle": (table("date,open,high,low,close,volume,Name", "{0},{1},{2},{3},{4},{5},AAPL"), BARS,
               "daily bars with a column of symbols"),
    "a company's name": (table("date,open,high,low,close,volume,Name", "{0},{1},{2},{3},{4},{5},Apple Inc."), BARS,
                         "daily bars with a column of symbols"),
    "MetaTrader": (table("<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
                         "{0}\t{1}\t{2}\t{3}\t{4}\t9\t{5}\t1", day="{:%Y.%m.%d}"), BARS, "MetaTrader"),
    "ARIVA": (comma(table("Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen", "{0};{1};{2};{3};{4};{5};9")), BARS,
              "ARIVA"),
    "a short name of the volume": (table("Date,Open,High,Low,Close,Vol"), BARS, "daily bars"),
    "Google": (table("Date,Open,High,Low,Close,Volume", day="{:%m/%d/%Y} 16:00:00"), BARS, "daily bars"),
    "NSE": (table("Date,Open,High,Low,Close,Volume", '{0},{1},{2},{3},{4},"{5}"', day="{:%d-%b-%Y}",
                  volume="{:,}"), BARS, "daily bars"),
}  # fmt: skip
TEXT = {
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "semicolons and decimal commas": comma(PLAIN.replace(",", ";")),
    "Excel's first line": "sep=;\n" + PLAIN.replace(",", ";"),
    "German thousands": comma(table("Date;Open;High;Low;Close;Volume", "{0};{1};{2};{3};{4};{5}", volume="{:,}")
                              .replace("51,826,900", "51.826.900").replace("58,436,200", "58.436.200")
                              .replace("63,149,100", "63.149.100")),
    "Swiss thousands": table("Date,Open,High,Low,Close,Volume", volume="{:,}", template="{0},{1},{2},{3},{4},'{5}'")
    .replace("51,826,900", "51'826'900").replace("58,436,200", "58'436'200").replace("63,149,100", "63'149'100")
    .replace("''", "'").replace(",'", ",").replace("'\n", "\n"),
    "old Mac": PLAIN.replace("\n", "\r"),
    "Windows": PLAIN.replace("\n", "\r\n"),
    "mixed line ends": PLAIN.replace("\n", "\r\n", 1).replace("\n2023-09-21", "\r2023-09-21"),
    "trailing commas": PLAIN.replace("\n", ",\n"),
    "trailing commas below the header": PLAIN.replace("00\n", "00,,\n"),
    "blank lines": PLAIN.replace("\n", "\n\n") + ",,,,,\n \n",
    "comment lines": "# made by hand\n" + PLAIN.replace("\n", "\n# a remark, with, commas, in, it, here\n", 1),
    "lines above the header": "Apple Inc.\nDaily prices in USD\n\n" + PLAIN,
    "quoted": re.sub(r"[^,\n]+", r'"\g<0>"', PLAIN),
    "reversed": "\n".join([PLAIN.split("\n")[0], *PLAIN.strip().split("\n")[:0:-1]]),
    "slashes, year first": PLAIN.replace("2023-09-", "2023/09/"),
    "days first": re.sub(r"2023-09-(\d\d)", r"\1/09/2023", PLAIN),
    "two digits of the year": re.sub(r"2023-09-(\d\d)", r"\1/09/23", PLAIN),
    "named months": re.sub(r"2023-09-(\d\d)", r"\1-Sep-23", PLAIN),
    "dollars": re.sub(r"(\d+\.\d+)", r"$\1", PLAIN),
    "no line end at the end": PLAIN.rstrip(),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_layout_is_recognised_by_its_header_and_read(name):
    text, expected, layout = READ[name]
    cleaned = run(text, "AAPL.US" if "AAPL.US" in text else "AAPL")
    assert rows(cleaned) == expected
    assert cleaned.rejects.empty
    (reading,) = cleaned.readings.values()
    assert reading.layout == layout
    assert reading.no_volume == sum(bar[5] is None for bar in expected)


@pytest.mark.parametrize("name", TEXT)
def test_text_is_read_as_it_is_written(name):
    cleaned = run(TEXT[name])
    assert rows(cleaned) == BARS
    assert cleaned.rejects.empty


HEADER = "date,open,high,low,close,volume\n"
GOOD = "2023-09-20,1,1,1,1,5\n"
REFUSED = {
    "an unknown header": ("when,px,qty\n2023-09-20,1,5\n",
                          "its columns are when, px, qty. Expected timestamp .or date"),
    "a close that is only adjusted": ("date,open,high,low,adj close,volume\n" + GOOD, "lacks the column 'close'"),
    "close twice": ("date,open,high,low,close,Close,volume\n2023-09-20,1,1,1,1,1,5\n", "more than one column 'close'"),
    "header only": (HEADER, "no rows"),
    "empty": ("\n \n", "empty"),
    "no header": (GOOD, "no header of daily bars|lacks the column"),
    "day or month": (HEADER + "03/04/2023,1,1,1,1,5\n04/04/2023,1,1,1,1,5\n",
                     r"line 2 has '03/04/2023'. Choose with -p dates=DMY, MDY"),
    "both orders": (HEADER + "25/01/2023,1,1,1,1,5\n01/26/2023,1,1,1,1,5\n",
                    "line 2 has '25/01/2023' .day first. and line 3 has '01/26/2023' .month first."),
    "two digits of the year that say nothing": (HEADER + "03/04/05,1,1,1,1,5\n", "dates=DMY, MDY, YMD"),
    "no dates": (HEADER + "soon,1,1,1,1,5\n", "line 2 has 'soon'"),
    "thousands or decimals": ('date,open,high,low,close\n2023-09-20,"1,234","1,240","1,230","1,235"\n',
                              "'1,234' in line 2 may be written with thousands or with decimals"),
    "thousands or decimals with points": ("date;open;high;low;close\n2023-09-20;1.234;1.240;1.230;1.235\n",
                                          "'1.234' in line 2"),
    "two currencies": (HEADER + "2023-09-20,$1.50,$1.50,$1.50,$1.50,5\n2023-09-21,€1.50,€1.50,€1.50,€1.50,5\n",
                       "more than one unit: '.1.50' in line 2 and '€1.50' in line 3"),
    "pounds and pence": (HEADER + "2023-09-20,£1.50,£1.50,£1.50,£1.50,5\n2023-09-21,150p,150p,150p,150p,5\n",
                         "more than one unit"),
    "intraday": (HEADER + "".join(f"2023-09-20 {h}:30:00,1,1,1,1,5\n" for h in range(10, 16)),
                 "intraday bars, 6 a day"),
    "Stooq's five minutes": ("<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
                             "AAPL,5,20230920,153500,1,1,1,1,5,0\n", "intraday.*line 2 has the period '5'"),
    "date and time apart": ("date,time,open,high,low,close,volume\n"
                            + "".join(f"2023-09-20,{h}:30,1,1,1,1,5\n" for h in range(10, 16)), "intraday"),
    "another symbol": ("date,symbol,open,high,low,close,volume\n2023-09-20,MSFT,1,1,1,1,5\n", "line 2 is of 'MSFT'"),
    "a download of another symbol": ("Price,Close,High,Low,Open,Volume\nTicker,MSFT,MSFT,MSFT,MSFT,MSFT\nDate,,,,,\n",
                                     "the header is of MSFT"),
    "NUL": (HEADER.encode() + b"2023-09-20,1,1,1,1,5\x00\n", "NUL"),
    "Latin-1": (HEADER.encode() + b"# caf\xe9\n", "not UTF-8"),
    "half a character of UTF-16": (PLAIN.encode("utf-16")[:-1], "not UTF-16"),
    "a page": ("<!DOCTYPE html><html>busy</html>", "HTML"),
    "an XML page": ('<?xml version="1.0"?><error/>', "HTML or XML"),
    "JSON": ("[1, 2]", "JSON"),
    "nested JSON": ("[" * 100_000, "JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_in_one_way_is_refused_with_line_and_value(name):
    text, says = REFUSED[name]
    cleaned = run(text)
    assert cleaned.prices.empty
    assert re.search(says, cleaned.failures["AAPL"]), cleaned.failures
    assert "AAPL (AAPL.csv)" in cleaned.failures["AAPL"]


LINES = {
    "a field over 128 KB": ("2023-09-21,1,1,1,1," + "9" * 200_000, "long_line"),
    "a quoted field over 128 KB": ('2023-09-21,1,1,1,1,5,"' + "x" * 200_000 + '"', "long_line"),
    "an open quote": ('2023-09-21,1,1,1,1,"5', ""),
    "an open quote at its start": ('"2023-09-21,1,1,1,1,5', "short_row"),
    "cut off": ("2023-09-21,1,1", "short_row"),
    "a thousand with a comma": ("2023-09-21,1,234,1,1,1,5", "spare_field"),
    "a total": ("Total,1,1,1,1,5", "bad_date"),
    "a disclaimer": ("Data may be delayed.", "short_row"),
    "another way of dates": ("21/09/2023,1,1,1,1,5", "bad_date"),
    "a percentage": ("2023-09-21,1%,1,1,1,5", "not_a_number"),
    "brackets": ("2023-09-21,(1.00),1,1,1,5", "non_positive_price"),
    "a volume in brackets": ("2023-09-21,1,1,1,1,(5)", "negative_volume"),
    "millions of a price": ("2023-09-21,1M,1,1,1,5", "not_a_number"),
    "digits of another script": ("2023-09-21,1,1,1,1,\u0665", ""),
    "a day that is none": ("2023-02-30,1,1,1,1,5", "bad_date"),
    "a year that wraps round": ("9999-12-31,1,1,1,1,5", "bad_date"),
    "a year before all": ("0001-01-01,1,1,1,1,5", "bad_date"),
    "an hour that is none": ("2023-09-21 25:00,1,1,1,1,5", "bad_date"),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_costs_only_itself(name):
    line, rule = LINES[name]
    cleaned = run(HEADER + "2023-09-19,1,1,1,1,5\n2023-09-20,1,1,1,1,5\n" + line + "\n2023-09-22,1,1,1,1,5\n")
    assert not cleaned.failures
    assert len(cleaned.prices) == (3 if rule else 4)
    assert cleaned.rejects[["rule", "line"]].values.tolist() == ([[rule, 4]] if rule else [])


def test_rows_of_other_symbols_are_refused_each():
    cleaned = run("date,symbol,open,high,low,close,volume\n2023-09-20,AAPL,1,1,1,1,5\n2023-09-21,MSFT,1,1,1,1,5\n")
    assert len(cleaned.prices) == 1
    assert cleaned.rejects[["rule", "line"]].values.tolist() == [["other_symbol", 3]]


@pytest.mark.parametrize(("order", "day"), [("DMY", "2023-04-03"), ("MDY", "2023-03-04"), ("YMD", None)])
def test_the_user_decides_what_the_dates_leave_open(order, day):
    text = HEADER + "03/04/2023,1,1,1,1,5\n"
    cleaned = run(text, calendar="24/7", dates=order)
    assert cleaned.prices["date"].dt.strftime("%Y-%m-%d").tolist() == ([day] if day else [])
    assert cleaned.rejects["rule"].tolist() == ([] if day else ["bad_date"])


def test_the_report_says_in_which_order_dates_were_read():
    assert run(TEXT["days first"]).readings["AAPL"].dates == "day first (DMY)"


@pytest.mark.parametrize(
    ("stamp", "calendar", "day"),
    [
        ("2023-09-21 00:00:00+00:00", "XNYS", "2023-09-21"),  # midnight UTC names a day, though it is evening there
        ("2023-09-21 04:00:00+00:00", "XNYS", "2023-09-21"),  # midnight in New York
        ("2023-09-20 16:00:00Z", "XHKG", "2023-09-21"),  # midnight in Hong Kong
        ("2023-09-20T23:00:00Z", "XASX", "2023-09-21"),  # the opening in Sydney
        ("1695254400", "XHKG", "2023-09-21"),
        ("1695254400000", "XNYS", "2023-09-21"),
        ("2023-09-21 00:00:00+08:00", "XHKG", "2023-09-21"),
    ],
)
def test_an_instant_is_of_the_exchanges_day(stamp, calendar, day):
    cleaned = run(HEADER + f"{stamp},1,1,1,1,5\n", calendar=calendar)
    assert cleaned.prices["date"].dt.strftime("%Y-%m-%d").tolist() == [day]


def test_an_instant_that_is_no_midnight_is_of_no_day_on_a_calendar_that_never_closes():
    assert "not midnight" in run(HEADER + "2023-09-20T21:00:00Z,1,1,1,1,5\n", calendar="24/5").failures["AAPL"]


@pytest.mark.parametrize("empty", ["", "NaN", "null", "-", "N/A"])
def test_a_volume_that_is_not_given_is_unknown_and_no_zero(empty):
    cleaned = run(HEADER + GOOD + f"2023-09-21,1,1,1,1,{empty}\n2023-09-22,1,1,1,1,0\n")
    assert [row[5] for row in rows(cleaned)] == [5, None, 0]
    assert cleaned.readings["AAPL"].no_volume == 1


def test_prices_and_volumes_have_no_size_that_is_refused():
    text = HEADER + "2023-09-20,0.00001234,0.00001240,0.00001230,0.00001235,5000000000\n"
    assert rows(run(text)) == [("2023-09-20", 0.00001234, 0.0000124, 0.0000123, 0.00001235, 5_000_000_000)]
    text = HEADER + "2023-09-20,531000.5,533000,530000,532000.25,9007199254740992\n"
    assert rows(run(text))[0][1:] == (531000.5, 533000, 530000, 532000.25, 2**53)


def test_a_fraction_of_a_share_is_refused_or_rounded_as_the_user_says():
    text = HEADER + "2023-09-20,1,1,1,1,5.75\n"
    assert run(text).rejects["rule"].tolist() == ["not_a_number"]
    assert rows(run(text, allow=("fractional_volume",)))[0][5] == 6


def test_weekends_are_sessions_of_what_never_closes():
    text = HEADER + "2023-09-16,1,1,1,1,5\n2023-09-17,1,1,1,1,5\n"
    assert len(run(text, calendar="24/7").prices) == 2
    assert run(text, calendar="24/5").rejects["rule"].tolist() == ["closed_day"] * 2


def test_new_york_traded_on_saturdays_until_1952():
    text = HEADER + "1935-03-02,1,1,1,1,5\n1945-08-04,1,1,1,1,5\n1952-10-04,1,1,1,1,5\n1929-10-29,1,1,1,1,5\n"
    cleaned = run(text)
    assert cleaned.prices["date"].dt.strftime("%Y-%m-%d").tolist() == ["1929-10-29", "1935-03-02"]
    assert cleaned.rejects["rule"].tolist() == ["closed_day"] * 2


def test_where_the_calendar_does_not_reach_back_rows_are_kept_by_choice():
    text = HEADER + "1989-12-29,1,1,1,1,5\n1998-03-02,1,1,1,1,5\n"
    cleaned = run(text, calendar="XTKS")
    assert (cleaned.rejects["rule"].tolist(), len(cleaned.prices)) == (["before_calendar"], 1)
    assert "does not reach back" in cleaned.rejects["reason"][0]
    assert len(run(text, calendar="XTKS", allow=("before_calendar",)).prices) == 2


def test_a_later_answer_that_still_lacks_the_volume_corrects_nothing():
    body = (HEADER + "2023-09-20,1,1,1,1,\n").encode()
    answers = [Answer("AAPL", body, f"{k}.csv", FETCHED + pd.Timedelta(days=k)) for k in range(2)]
    cleaned = clean.clean(
        {"AAPL": answers}, corporate_actions.none(), start=pd.Timestamp("1900-01-01"), as_of=FETCHED.tz_convert(None)
    )
    assert cleaned.corrections.empty
    assert len(cleaned.prices) == 1


ROLL = (
    HEADER + "2020-04-17,18.5,18.9,17.3,18.27,5\n2020-04-20,17.7,17.85,-40.32,-37.63,5\n2020-04-21,15,16,14,15.25,5\n"
)


def test_a_price_below_zero_is_refused_or_kept_as_the_user_says():
    assert run(ROLL).rejects["rule"].tolist() == ["non_positive_price"]
    kept = run(ROLL, allow=("non_positive_price",))
    assert [row[4] for row in rows(kept)] == [18.27, -37.63, 15.25]
    assert kept.rejects.empty
    assert kept.jumps.empty


PIECES = [b",", b";", b'"', b"\n", b"\r", b"\t", b".", b"-", b"(", b"$", b"%", b"p", b"M", b"1e400", b"\xff", b"nan",
          b"/", b"T", b"Z", b"+14:00", b"Date", b"<", b"{", b"1_000", b"\xd9\xa3", b"32/01/2023",
          b"99999999999999"]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(seed):
    pick = np.random.default_rng(seed)
    every = [text for text, *_ in READ.values()] + list(TEXT.values())
    text = every[pick.integers(len(every))]
    body = bytearray(text if isinstance(text, bytes) else text.encode())
    for _ in range(pick.integers(1, 5)):
        at = int(pick.integers(len(body)))
        body[at : at + int(pick.integers(0, 8))] = PIECES[pick.integers(len(PIECES))] if pick.random() < 0.7 else b""
    cleaned = run(bytes(body))
    assert len(cleaned.failures) + len(cleaned.readings) == 1
    assert set(cleaned.prices["date"].dt.year) <= {2023, 2020, 2021, 2022, 2019}


@pytest.mark.parametrize("choice", [{"dates": "dmy"}, {"allow": ("closed_day",)}])
def test_a_choice_that_is_none_is_refused(choice):
    with pytest.raises(ParamError, match=r"dmy|closed_day"):
        run(PLAIN, **choice)
