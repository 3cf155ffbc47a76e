"""Where it runs beside a laptop: SageMaker's contracts and Spark."""
