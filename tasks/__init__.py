"""How Prefect runs a step: retries, caching, artifacts. What a step does is in `tidegate`."""
