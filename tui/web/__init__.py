"""The terminal interface in a browser: each page that is opened gets an `amda-tui` of its own, behind a token."""
