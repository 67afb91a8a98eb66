"""Training: data in, a checkpoint and an MLflow run out."""
