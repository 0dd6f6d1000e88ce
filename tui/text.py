"""The language of the interface, which it shares with the command line."""

from appliance.language import N_, _, current_language, known, language_of, ngettext, number, use_language

__all__ = ["N_", "_", "current_language", "known", "language_of", "ngettext", "number", "use_language"]
