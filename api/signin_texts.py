"""What the page /signin says, in the languages of the page. It works without scripts, so its texts are not theirs."""

from werkzeug.datastructures import LanguageAccept

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


def texts_for(accepted: LanguageAccept) -> tuple[str, dict[str, str]]:
    """The language that a browser likes best of those there are, English where it likes none, and its texts."""
    language = accepted.best_match(TEXTS, default="en")
    return language, TEXTS[language]
