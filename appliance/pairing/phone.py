"""Phone numbers as users type them: parsed, validated by country, and refused with words that help."""

from __future__ import annotations

from typing import Final

import phonenumbers

from appliance.problems import ProblemError, invalid

_FIELD: Final = "phone"
_EXAMPLE: Final = "Write it like +221 77 123 45 12."
_LENGTHS: Final = {
    phonenumbers.ValidationResult.TOO_SHORT: "is too short for {where}",
    phonenumbers.ValidationResult.TOO_LONG: "is too long for {where}",
    phonenumbers.ValidationResult.INVALID_LENGTH: "has a length that {where} does not use",
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "lacks the country or the area code",
}


def parse_phone(text: str, country: str | None = None) -> str:
    """The number as `+` and digits (E.164). `country`: two letters, for numbers without country code.

    Raises ProblemError 400 that says what is wrong with the number, without repeating it.
    """
    text = text.strip()
    if any(character.isalpha() for character in text):
        raise _bad("holds letters", "Write digits only, with the country code, like +221 77 123 45 12.")
    if not any(character.isdigit() for character in text):
        raise _bad("holds no digits", _EXAMPLE)
    international = text.startswith(("+", "00"))
    if text.startswith("00"):
        text = "+" + text[2:]
    if not international and country is None:
        if text.startswith("0"):
            raise _bad("starts with 0", "Write it with the country code, without that 0: +33 6 … instead of 06 …")
        text = "+" + text
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
            raise _bad("begins with a country code that does not exist", _EXAMPLE) from error
        raise _bad("is not a phone number", _EXAMPLE) from error
    length = phonenumbers.is_possible_number_with_reason(number)
    where = f"{phonenumbers.region_code_for_country_code(number.country_code or 0)} (+{number.country_code})"
    if length != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise _bad(_LENGTHS.get(length, "cannot be a phone number").format(where=where), _EXAMPLE)
    if not phonenumbers.is_valid_number(number):
        raise _bad(f"does not exist in the numbering plan of {where}", "Check its digits.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _bad(what: str, remedy: str) -> ProblemError:
    return invalid(_FIELD, f"The phone number {what}.", remedy)
