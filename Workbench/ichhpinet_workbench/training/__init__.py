"""Multi-round training with a simulated radiologist: recipes, data pool, loop, checkpoints."""
