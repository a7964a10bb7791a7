"""A Prefect worker of type `warm`: child processes that have everything imported run flow runs one after another.

It depends on Prefect alone. Start one with ``prefect worker start --pool NAME --type warm --limit 4``.
"""
