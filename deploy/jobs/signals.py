"""Ticks and crossings of averages on Spark Structured Streaming: the entry script for Glue, EMR and spark-submit.

    spark-submit deploy/jobs/signals.py --lake s3://bucket/lake --checkpoint s3://bucket/checkpoints/signals \\
        --source kafka:ticks --brokers broker:9092

With Kafka it needs Spark's connector (``--packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.1``, of Spark's own
version), with Spark 4 the package protobuf. Started again with the same checkpoint it goes on where it was. It was run
on one machine, from files, with Spark 3.5 and 4; not with Kafka, not on Glue and not on EMR.
"""

import sys

from stockkit.cloud.spark.jobs import stream_signals

if __name__ == "__main__":
    sys.exit(stream_signals(sys.argv[1:]))
