"""Compute features on Spark: the entry script for Glue, EMR and spark-submit.

    spark-submit deploy/jobs/features.py --lake s3://bucket/lake --names ret_1,vol_20 --symbols AAPL,MSFT

The machines need the package: on Glue ``--additional-python-modules stockkit``, on EMR a packed environment
(``--archives``). It was run with spark-submit on one machine, Spark 3.5 and 4; not on Glue and not on EMR.
"""

import sys

from stockkit.cloud.spark.jobs import compute_features

if __name__ == "__main__":
    sys.exit(compute_features(sys.argv[1:]))
