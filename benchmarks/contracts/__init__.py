"""The data contracts of the benchmarks' project: orders, and three references to look up in."""
