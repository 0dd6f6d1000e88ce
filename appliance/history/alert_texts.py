"""The words: messages to operators, and to a session's person in their language, about what they must do.

No message bodies of WhatsApp and no phone numbers: a message may be read by anybody on a lock screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.history.alert_machine import Alert, News, Telling
from appliance.history.alert_rules import RULES
from appliance.masking import mask_numbers
from appliance.model_history import AlertRule, AlertSeverity, Language

NAMES_MAX: Final = 8
"""So many sessions are named; a message about sixty is not read to its end."""
_TITLES: Final[dict[AlertRule, str]] = {
    AlertRule.DISCONNECTION_RATE: "many disconnections",
    AlertRule.OFFLINE: "does not get through",
    AlertRule.UNSTABLE: "unstable session",
    AlertRule.NEEDS_PAIRING: "needs pairing",
    AlertRule.REPLACED: "replaced by another copy",
    AlertRule.BANNED: "banned",
    AlertRule.COOLING: "too many failed logins",
    AlertRule.CRASH_LOOP: "crashes again and again",
    AlertRule.OUTDATED: "engine outdated",
    AlertRule.MEMORY: "process too large",
    AlertRule.FORK_SERVER: "fork server away",
    AlertRule.STORAGE: "storage unhealthy",
    AlertRule.REDIS: "Redis unhealthy",
    AlertRule.SETTINGS: "settings file unusable",
    AlertRule.LEASE: "taken over elsewhere",
    AlertRule.WEBHOOKS: "webhooks fail",
    AlertRule.QUOTA: "storage nearly full",
    AlertRule.PAIRING_RATE: "linking fails often",
    AlertRule.PHONE_UNSEEN: "phone not seen",
}
_SIGNS: Final = {News.DOWN: "✖", News.STILL: "…", News.UP: "✔"}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is delivered. `kind`: info, success, warning or failure, as apprise names them. `data` goes into the
    webhook's JSON beside the texts."""

    title: str
    body: str
    kind: str
    at: float
    data: dict[str, object] = {}


def duration_text(seconds: float) -> str:
    """For people: the two largest units.

    >>> duration_text(3725)
    '1 h 2 min'
    >>> duration_text(0.4)
    '0 s'
    """
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def operator_message(tellings: Sequence[Telling], node: str, now: float) -> Message:
    """One message about everything that is due; the same rule's sessions stand in one line."""
    groups: dict[tuple[News, AlertRule], list[Alert]] = {}
    for telling in tellings:
        groups.setdefault((telling.news, telling.alert.rule), []).append(telling.alert)
    order = list(News)
    lines: list[str] = []
    titles: list[str] = []
    for (news, rule), alerts in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        titles.append(_headline(news, rule, alerts))
        lines += _paragraph(news, rule, alerts, now)
    bad = [telling.alert for telling in tellings if telling.news is not News.UP]
    if not bad:
        kind = "success"
    else:
        loud = any(alert.severity is not AlertSeverity.WARNING for alert in bad)
        kind = "failure" if loud else "warning"
    shown = "; ".join(titles[:2]) + (f"; and {len(titles) - 2} more" if len(titles) > 2 else "")
    return Message(
        title=f"AMDA {node}: {shown}",
        body=mask_numbers("\n".join(lines)),
        kind=kind,
        at=now,
        data={"alerts": [_data(telling, now) for telling in tellings]},
    )


def _headline(news: News, rule: AlertRule, alerts: Sequence[Alert]) -> str:
    if news is News.UP:
        return f"recovered: {_TITLES[rule]}"
    named = [alert.session for alert in alerts if alert.session]
    if not named:
        return _TITLES[rule]
    who = named[0] if len(named) == 1 else f"{len(named)} sessions"
    return f"{_TITLES[rule]}: {who}"


def _paragraph(news: News, rule: AlertRule, alerts: Sequence[Alert], now: float) -> list[str]:
    lines = []
    for alert in alerts[:NAMES_MAX]:
        who = f" {alert.session}" if alert.session else ""
        if news is News.UP:
            took = duration_text(max(0.0, (alert.ended_at or now) - alert.since))
            lines.append(f"{_SIGNS[news]}{who} {_TITLES[rule]}: recovered after {took}")
        else:
            since = f" (for {duration_text(max(0.0, now - alert.since))})" if news is News.STILL else ""
            lines.append(f"{_SIGNS[news]}{who} {_TITLES[rule]}: {alert.text}{since}")
    if len(alerts) > NAMES_MAX:
        lines.append(f"  and {len(alerts) - NAMES_MAX} more")
    if news is not News.UP and RULES[rule].remedy:
        lines.append(f"  → {RULES[rule].remedy}")
    return lines


def _data(telling: Telling, now: float) -> dict[str, object]:
    alert = telling.alert
    ended = alert.ended_at if telling.news is News.UP and alert.ended_at is not None else now
    return {
        "id": alert.id,
        "news": telling.news.value,
        "rule": alert.rule.value,
        "session": alert.session or None,
        "severity": alert.severity.value,
        "text": mask_numbers(alert.text),
        "since": alert.since,
        "duration_s": max(0.0, ended - alert.since),
    }


_PERSON: Final[dict[AlertRule, dict[Language, tuple[str, str]]]] = {
    AlertRule.NEEDS_PAIRING: {
        Language.EN: (
            "Please link your WhatsApp again",
            "Hello {name},\n\nWhatsApp has removed the link with your account, so nothing is saved for you just now. "
            "What was saved before is still there.\n\nPlease link it again: ask for a new code where you got the "
            "first one, then on your phone open WhatsApp → Linked devices → Link a device → Link with phone number "
            "instead, and type the code.",
        ),
        Language.FR: (
            "Merci de relier à nouveau votre WhatsApp",
            "Bonjour {name},\n\nWhatsApp a supprimé la liaison avec votre compte : rien n’est enregistré pour vous en "
            "ce moment. Ce qui a été enregistré avant est conservé.\n\nMerci de le relier à nouveau : demandez un "
            "nouveau code là où vous avez eu le premier, puis sur votre téléphone ouvrez WhatsApp → Appareils "
            "connectés → Connecter un appareil → Connecter avec un numéro de téléphone, et saisissez le code.",
        ),
    },
    AlertRule.PHONE_UNSEEN: {
        Language.EN: (
            "Please open WhatsApp on your phone",
            "Hello {name},\n\nWe have noticed nothing of your phone in WhatsApp for {number} days. When a phone is "
            "away for 14 days, WhatsApp removes all its linked devices by itself.\n\nPlease open WhatsApp on your "
            "phone, with a connection to the internet, and read or send one message. Nothing else is needed.",
        ),
        Language.FR: (
            "Merci d’ouvrir WhatsApp sur votre téléphone",
            "Bonjour {name},\n\nNous n’avons rien remarqué de votre téléphone dans WhatsApp depuis {number} jours. "
            "Quand un téléphone est absent pendant 14 jours, WhatsApp supprime de lui-même tous ses appareils "
            "connectés.\n\nMerci d’ouvrir WhatsApp sur votre téléphone, avec une connexion à internet, et de lire ou "
            "d’envoyer un message. C’est tout.",
        ),
    },
    AlertRule.BANNED: {
        Language.EN: (
            "WhatsApp refuses your account",
            "Hello {name},\n\nWhatsApp refuses your account at the moment. Please open WhatsApp on your phone: it says "
            "why, for how long, and whether you can ask for a review. Please do not try to link it again before that.",
        ),
        Language.FR: (
            "WhatsApp refuse votre compte",
            "Bonjour {name},\n\nWhatsApp refuse votre compte en ce moment. Merci d’ouvrir WhatsApp sur votre "
            "téléphone : l’application dit pourquoi, pour combien de temps, et si vous pouvez demander un examen. "
            "Merci de ne pas essayer de le relier avant.",
        ),
    },
    AlertRule.QUOTA: {
        Language.EN: (
            "Your storage is nearly full",
            "Hello {name},\n\n{number} % of your storage is used. Once it is full, the oldest items make room for new "
            "ones, or new ones are no longer kept.\n\nPlease download what you want to keep, and delete what you do "
            "not need.",
        ),
        Language.FR: (
            "Votre espace est presque plein",
            "Bonjour {name},\n\n{number} % de votre espace est utilisé. Une fois plein, les éléments les plus anciens "
            "laissent la place aux nouveaux, ou les nouveaux ne sont plus gardés.\n\nMerci de télécharger ce que vous "
            "voulez garder et de supprimer ce dont vous n’avez pas besoin.",
        ),
    },
}
_TEST: Final[dict[Language, tuple[str, str]]] = {
    Language.EN: (
        "Test message",
        "Hello {name},\n\nThis is a test: messages about your WhatsApp link reach you here. There is nothing to do.",
    ),
    Language.FR: (
        "Message de test",
        "Bonjour {name},\n\nCeci est un test : les messages sur votre liaison WhatsApp vous parviennent ici. "
        "Vous n’avez rien à faire.",
    ),
}


def person_message(alert: Alert, name: str, language: Language, now: float) -> Message:
    """What the session's person must do. Raises KeyError for a rule that concerns no person."""
    title, body = _PERSON[alert.rule][language]
    return Message(
        title=title,
        body=body.format(name=name, number=alert.number),
        kind="warning",
        at=now,
        data={"rule": alert.rule.value, "session": alert.session, "language": language.value},
    )


def trial_message(node: str, now: float) -> Message:
    """To operators: nothing happened."""
    body = "This is a test: alerts of this appliance reach you here. There is nothing to do."
    return Message(title=f"AMDA {node}: test", body=body, kind="info", at=now, data={"test": True})


def person_trial_message(session: str, name: str, language: Language, now: float) -> Message:
    """To a person: nothing happened."""
    title, body = _TEST[language]
    data: dict[str, object] = {"test": True, "session": session, "language": language.value}
    return Message(title=title, body=body.format(name=name), kind="info", at=now, data=data)
