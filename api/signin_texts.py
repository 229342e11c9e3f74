"""What the page /signin says, in the languages of the page. It works without scripts, so its texts are not theirs."""

from flask import Request

TEXTS = {
    "en": {
        "title": "Sign in",
        "key": "Key",
        "sign_in": "Sign in",
        "sign_out": "Sign out",
        "to_the_pictures": "To the pictures",
        "signed_in_with": "Signed in with the key",
        "read": "It may look and search.",
        "write": "It may look, search and change pictures.",
        "admin": "It may do everything.",
        "who_makes_keys": "The operator of this service makes keys with",
    },
    "de": {
        "title": "Anmelden",
        "key": "Schlüssel",
        "sign_in": "Anmelden",
        "sign_out": "Abmelden",
        "to_the_pictures": "Zu den Bildern",
        "signed_in_with": "Angemeldet mit dem Schlüssel",
        "read": "Er darf ansehen und suchen.",
        "write": "Er darf ansehen, suchen und Bilder ändern.",
        "admin": "Er darf alles.",
        "who_makes_keys": "Schlüssel macht der Betreiber dieses Dienstes mit",
        "unauthenticated": "Der Schlüssel gilt nicht.",
        "forbidden": "Dieser Schlüssel ist für Programme, die Bilder senden; ansehen darf er nichts.",
        "rate_limited": "Zu viele falsche Schlüssel. Bitte später noch einmal versuchen.",
    },
}


CHOSEN = "umbel-language"  # the cookie with the language that was chosen on the page


def texts_for(request: Request) -> tuple[str, dict[str, str]]:
    """The language chosen on the page, else the one that the browser likes best, else English; and its texts."""
    chosen = request.cookies.get(CHOSEN, "")
    language = chosen if chosen in TEXTS else request.accept_languages.best_match(TEXTS, default="en")
    return language, TEXTS[language]
