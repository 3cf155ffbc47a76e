"""SageMaker's contracts: a server of a saved model, and training from a prefix."""
