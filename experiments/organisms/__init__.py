"""The organisms: three small models trained on a synthetic world, made again from seeds."""
