"""Moving a server to another release or engine, step by step, and back. Nothing of the daemon imports it."""
