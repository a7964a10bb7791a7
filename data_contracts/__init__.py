"""What we agree on with those who send us files: one module a dataset."""
