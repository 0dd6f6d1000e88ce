"""A line of text that is being typed: filter, palette, a phone number. Pure: keys in, text out."""

from __future__ import annotations

import msgspec

from tui.paint import Line, Pen, Tone


class Editor(msgspec.Struct):
    """`at`: place of the cursor, in characters."""

    text: str = ""
    at: int = 0

    def key(self, key: str, character: str | None) -> bool:
        """One key; whether it was one of editing."""
        moves = {"left": self.at - 1, "right": self.at + 1, "home": 0, "ctrl+a": 0}
        moves |= dict.fromkeys(("end", "ctrl+e"), len(self.text))
        if key in moves:
            self.at = min(len(self.text), max(0, moves[key]))
        elif key == "backspace":
            self._replace(max(0, self.at - 1), self.at, "")
        elif key == "delete":
            self._replace(self.at, self.at + 1, "")
        elif key == "ctrl+u":
            self._replace(0, self.at, "")
        elif key == "ctrl+w":
            self._replace(len(self.text[: self.at].rstrip().rpartition(" ")[0]), self.at, "")
        elif character and character.isprintable():
            self._replace(self.at, self.at, character)
        else:
            return False
        return True

    def paste(self, text: str) -> None:
        """A pasted text becomes one line."""
        self._replace(self.at, self.at, "".join(letter if letter.isprintable() else " " for letter in text).strip())

    def put(self, pen: Pen, *, hint: str = "") -> Pen:
        """The text with a cursor that does not blink: blinking costs a slow line bytes."""
        pen.put(self.text[: self.at], Tone.STRONG).put("▏" if self.text or not hint else "", Tone.ACCENT)
        pen.put(self.text[self.at :], Tone.STRONG)
        return pen if self.text else pen.put(hint, Tone.DIM)

    def line(self, prompt: str, width: int, hint: str = "") -> Line:
        return self.put(Pen().put(prompt, Tone.KEY), hint=hint).line(width)

    def _replace(self, start: int, end: int, text: str) -> None:
        self.text = self.text[:start] + text + self.text[end:]
        self.at = start + len(text)
