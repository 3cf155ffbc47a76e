"""Two Lambda functions behind a Kinesis stream: `transform` (quotes, dead letters) and `trend` (signals, alerts).

They run in a small zip with the standard library and boto3 alone; `stockkit.cloud.lambdas.package` makes it.
"""
