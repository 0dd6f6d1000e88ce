"""The words: one message for many, both languages, nothing that must not be read on a lock screen."""

from __future__ import annotations

from appliance.history.alert_machine import Alert, News, Telling
from appliance.history.alert_rules import RULES
from appliance.history.alert_texts import duration_text, operator_message, person_message, person_trial_message
from appliance.model_history import AlertPhase, AlertRule, Language

NOW = 1_800_000_000.0


def alert(rule: AlertRule, session: str = "", text: str = "it is so", **more: object) -> Alert:
    values: dict[str, object] = {
        "id": f"{rule}-{session}",
        "rule": rule,
        "session": session,
        "severity": RULES[rule].severity,
        "phase": AlertPhase.DOWN,
        "text": text,
        "number": 11,
        "operators": True,
        "since": NOW - 3725,
    }
    return Alert(**{**values, **more})  # type: ignore[arg-type]


def test_sixty_sessions_are_one_message() -> None:
    tellings = [Telling(news=News.DOWN, alert=alert(AlertRule.NEEDS_PAIRING, f"s{n}")) for n in range(60)]
    message = operator_message(tellings, "box", NOW)
    assert message.title == "AMDA box: needs pairing: 60 sessions"
    assert message.kind == "failure"
    assert "and 52 more" in message.body
    assert len(message.body.splitlines()) == 10
    alerts = message.data["alerts"]
    assert isinstance(alerts, list)
    assert len(alerts) == 60


def test_news_of_all_kinds() -> None:
    tellings = [
        Telling(news=News.UP, alert=alert(AlertRule.REDIS, ended_at=NOW - 125)),
        Telling(news=News.STILL, alert=alert(AlertRule.NEEDS_PAIRING, "awa")),
        Telling(news=News.DOWN, alert=alert(AlertRule.MEMORY, "binta", "uses 130 MiB")),
    ]
    message = operator_message(tellings, "box", NOW)
    assert message.title == "AMDA box: process too large: binta; needs pairing: awa; and 1 more"
    assert "✖ binta process too large: uses 130 MiB" in message.body
    assert "… awa needs pairing: it is so (for 1 h 2 min)" in message.body
    assert "✔ Redis unhealthy: recovered after 1 h" in message.body
    only_up = operator_message(tellings[:1], "box", NOW)
    assert (only_up.title, only_up.kind) == ("AMDA box: recovered: Redis unhealthy", "success")


def test_numbers_are_masked() -> None:
    message = operator_message(
        [Telling(news=News.DOWN, alert=alert(AlertRule.BANNED, "awa", "221771234512@s.whatsapp.net"))], "box", NOW
    )
    assert "7712345" not in message.body + str(message.data)


def test_a_person_is_told_in_their_language() -> None:
    what = alert(AlertRule.PHONE_UNSEEN, "awa")
    english = person_message(what, "Awa {x}", Language.EN, NOW)
    french = person_message(what, "Awa", Language.FR, NOW)
    assert "Awa {x}" in english.body
    assert "11 days" in english.body
    assert "11 jours" in french.body
    assert french.title == "Merci d’ouvrir WhatsApp sur votre téléphone"
    assert "Bonjour Awa" in person_trial_message("awa", "Awa", Language.FR, NOW).body


def test_durations() -> None:
    shown = [duration_text(seconds) for seconds in (0.9, 59, 60, 3600, 3661, 86_400 + 3600, 10 * 86_400)]
    assert shown == ["0 s", "59 s", "1 min", "1 h", "1 h 1 min", "1 d 1 h", "10 d"]
