"""What a user would pick instead: a folder each, with its requirements and its scripts."""
