"""Which export a file is, recognised by its header line alone: what its columns mean, and which price it gives.

A header that is none of these is refused with its columns and those expected; nothing is guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

AS_TRADED = "as traded"
NO_SPLITS = "with splits taken out by the provider"
ADJUSTED = "adjusted for splits and dividends, not as traded"
AS_GIVEN = "as the file has them"
EXPECTED = (
    "timestamp (or date), open, high, low, close and perhaps volume; or an export of Alpha Vantage, Yahoo, yfinance, "
    "Nasdaq, Stooq, Tiingo, EODHD, Investing, TradingView or Interactive Brokers"
)
COLUMNS = ("open", "high", "low", "close", "volume")
PRICE_COLUMNS = COLUMNS[:4]
BARS = {name: name for name in ("date", *PRICE_COLUMNS)}
ADJUSTED_CLOSE = (
    "adj close", "adj. close", "adjclose", "adj_close", "adjusted close", "adjusted_close", "adjustedclose"
)  # fmt: skip
SYMBOLS = ("symbol", "ticker", "<ticker>", "name", "stock", "instrument")
WEAK = ("name", "stock", "instrument")  # may hold a company's name as well
INDEX_NAMES = ("date", "datetime", "timestamp")


@dataclass(frozen=True)
class Layout:
    """What a header means.

    Attributes:
        name: of the export, for the report.
        columns: what is read (date, open, high, low, close, volume) to the header's name for it, in small letters.
        marks: further names by which the export is known.
        prices: which price it gives.
        order: how it writes day and month, where it always does so (DMY, MDY).
        optional: names that say the same as `volume` in `columns` and may be absent, or symbol, time and period.
        note: a line for the report.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=lambda: BARS)
    marks: tuple[str, ...] = ()
    prices: str = AS_GIVEN
    order: str = ""
    optional: Mapping[str, str] = field(default_factory=lambda: {"volume": "volume"})
    note: str = ""
    no_volume: float | None = None


def _bars(date: str = "date", **others: str) -> dict[str, str]:
    return {**BARS, "date": date, **others}


def _named(date: str, opened: str, high: str, low: str, close: str) -> dict[str, str]:
    return {"date": date, "open": opened, "high": high, "low": low, "close": close}


NASDAQ = "Nasdaq takes splits out of past prices: leave those out of actions.csv"
YAHOO = "close is read, adj close left aside; Yahoo takes splits out of close: leave those out of actions.csv"
LAYOUTS = (
    Layout("Alpha Vantage", _bars("timestamp"), ("dividend_amount", "split_coefficient"), AS_TRADED),
    Layout("Alpha Vantage", _bars("date"), ("dividend_amount", "split_coefficient"), AS_TRADED),
    Layout("Tiingo", marks=("adjclose", "divcash", "splitfactor"), prices=AS_TRADED, note="adjClose is left aside"),
    Layout("Tiingo", marks=("adjclose", "adjopen"), prices=AS_TRADED, note="adjClose is left aside"),
    Layout("Tiingo, adjusted only", _named("date", "adjopen", "adjhigh", "adjlow", "adjclose"), prices=ADJUSTED,
           optional={"volume": "adjvolume"}),
    Layout("Nasdaq", _bars(close="close/last"), prices=NO_SPLITS, order="MDY", note=NASDAQ),
    Layout("yfinance", marks=("adj close", "dividends", "stock splits"), prices=NO_SPLITS, note=YAHOO),
    Layout("yfinance, adjusted", marks=("dividends", "stock splits"), prices=ADJUSTED,
           note="yfinance adjusts unless asked not to (auto_adjust=False)"),
    Layout("Yahoo", marks=("adj close",), prices=NO_SPLITS, note=YAHOO),
    Layout("EODHD", marks=("adjusted_close",), prices=AS_TRADED, note="adjusted_close is left aside"),
    Layout("EODHD", _bars("timestamp"), ("adjusted_close",), AS_TRADED, note="adjusted_close is left aside"),
    Layout("Stooq, bulk", _named("<date>", "<open>", "<high>", "<low>", "<close>"), ("<ticker>", "<per>"),
           optional={"volume": "<vol>", "time": "<time>", "period": "<per>"}, note="Stooq adjusts past prices"),
    Layout("MetaTrader", _named("<date>", "<open>", "<high>", "<low>", "<close>"),
           optional={"volume": "<vol>", "time": "<time>"}),
    Layout("Stooq, Polish", _named("data", "otwarcie", "najwyzszy", "najnizszy", "zamkniecie"),
           optional={"volume": "wolumen"}, note="Stooq adjusts past prices"),
    Layout("Investing", _named("date", "open", "high", "low", "price"), optional={"volume": "vol."}),
    Layout("Investing, German", _named("datum", "eröffn.", "hoch", "tief", "zuletzt"), optional={"volume": "vol."}),
    Layout("Investing, French", _named("date", "ouv.", "plus haut", "plus bas", "dernier"),
           optional={"volume": "vol."}),
    Layout("Investing, Spanish", _named("fecha", "apertura", "máximo", "mínimo", "último"),
           optional={"volume": "vol."}),
    Layout("ARIVA", _named("datum", "erster", "hoch", "tief", "schlusskurs"), optional={"volume": "stuecke"}),
    Layout("Interactive Brokers", marks=("average", "barcount"), prices=AS_GIVEN, no_volume=-1.0),
    Layout("Interactive Brokers", marks=("wap", "count"), prices=AS_GIVEN, no_volume=-1.0),
    Layout("daily bars", _bars("timestamp")),
    Layout("daily bars", optional={"volume": "volume", "time": "time"}),
    Layout("daily bars", _bars("datetime")),
    Layout("TradingView", _bars("time")),
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """A header that was recognised: its layout, the place of each column, and where its rows begin.

    `places` has date, open, high, low, close; volume, symbol, time and period where there are such columns. `width`
    is the number of fields of the header, `rows` the index of the first line after it, `tickers` the symbols that
    stand in the header itself.
    """

    layout: Layout
    places: Mapping[str, int]
    names: tuple[str, ...]
    delimiter: str
    rows: int
    tickers: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many fields the header has."""
        return len(self.names)


@dataclass(frozen=True)
class Reading:
    """How an answer was read, for the report: layout, which price, how dates and numbers are written, remarks."""

    layout: str
    prices: str
    dates: str = "YYYY-MM-DD"
    numbers: str = ""
    note: str = ""
    no_volume: int = 0

    @property
    def remarks(self) -> str:
        """What else to know, in words."""
        volume = f"{self.no_volume:,} rows without a volume" if self.no_volume else ""
        return "; ".join(word for word in (self.numbers, self.note, volume) if word)


def normal(name: str) -> str:
    """A column's name as it is compared: small letters, single blanks, no stars or quotes around."""
    return " ".join(name.strip().strip("*'\"").lower().split())


def recognise(fields: Sequence[str], delimiter: str, rows: int) -> Header | None:
    """The header that these fields are, None where they are none of `LAYOUTS` or name a column twice."""
    names = tuple(normal(name) for name in fields)
    for layout in LAYOUTS:
        wanted = (*layout.columns.values(), *layout.marks)
        read = (*layout.columns.values(), layout.optional.get("volume", ""))
        if all(name in names for name in wanted) and all(names.count(name) <= 1 for name in read if name):
            return Header(_beside(layout, names), _places(layout, names), names, delimiter, rows)
    return None


def _beside(layout: Layout, names: Sequence[str]) -> Layout:
    """What an adjusted close or a column of symbols beside plain bars makes of the layout."""
    if layout.name == "daily bars" and any(name in names for name in ADJUSTED_CLOSE):
        layout = replace(layout, note="close is read, the adjusted close left aside")
    if layout.name == "daily bars" and any(name in names for name in SYMBOLS):
        layout = replace(layout, name="daily bars with a column of symbols")
    return layout


def _places(layout: Layout, names: Sequence[str]) -> dict[str, int]:
    places = {what: names.index(name) for what, name in (*layout.columns.items(), *layout.optional.items())
              if name in names}  # fmt: skip
    short = next((name for name in ("vol", "vol.") if name in names), None)
    if "volume" not in places and short and layout.optional.get("volume") == "volume":
        places["volume"] = names.index(short)
    symbol = next((name for name in SYMBOLS if name in names), None)
    return places if symbol is None else {**places, "symbol": names.index(symbol)}


def yfinance(rows: Sequence[Sequence[str]], delimiter: str, start: int) -> list[Header] | None:
    """The headers of yfinance's download, one a symbol: names of prices, symbols, and the name of the index.

    Args:
        rows: the fields of the first lines.
        delimiter: what stands between them.
        start: the index of the first of these lines.
    """
    top = [[normal(name) for name in row] for row in rows[:3]]
    if not top or top[0][:1] not in (["price"], ["ticker"], ["attributes"], [""]):
        return None
    levels = [row for row in top if row[:1] in (["price"], ["ticker"], ["attributes"], ["symbols"], [""])]
    index = top[len(levels)] if len(levels) < len(top) else []
    indexed = index[:1] in (["date"], ["datetime"]) and not any(index[1:])
    fields = next((row for row in levels if "close" in row), None)
    if fields is None or not (indexed or len(levels) == 2):
        return None
    rest = [rows[at] for at, row in enumerate(levels) if row is not fields]
    tickers = [name.strip() for name in rest[0]] if rest else [""] * len(fields)
    every = tuple(dict.fromkeys(name for name in tickers[1:] if name))
    first = start + len(levels) + indexed
    downloads = [_download(fields, tickers, ticker, delimiter, first) for ticker in every or ("",)]
    return [replace(header, tickers=(header.tickers or every)) for header in downloads if header] or None


def _download(fields: Sequence[str], tickers: Sequence[str], ticker: str, delimiter: str, rows: int) -> Header | None:
    names = ["date", *(name if t == ticker else "" for name, t in zip(fields[1:], tickers[1:], strict=False))]
    if any(names.count(name) != 1 for name in BARS):
        return None
    beside = "adj close" in names
    layout = Layout("yfinance" if beside else "yfinance, adjusted", prices=NO_SPLITS if beside else ADJUSTED,
                    note=YAHOO if beside else "yfinance adjusts unless asked not to (auto_adjust=False)")  # fmt: skip
    places = {name: names.index(name) for name in (*BARS, "volume") if name in names}
    return Header(layout, places, tuple(names), delimiter, rows, (ticker,) if ticker else ())
