"""What runs: one module a deployable flow. Steps are in `tasks`, the work in `tidegate`."""
