"""The entry points in the cloud: each parses what called it, calls what `shared` does, and publishes what came of it."""
