"""A contract in the forms that people and other programs read, made from its description."""
