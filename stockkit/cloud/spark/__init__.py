"""Spark: a session, Hive SQL over the lake, features a symbol a group, and the jobs of Glue and EMR."""
