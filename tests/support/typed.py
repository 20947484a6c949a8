"""What tests type: later words of a line take the place of earlier ones of the same key."""

from configs.overrides import key_of


def last_of_each(*words: str) -> list[str]:
    """Words as a command takes them, which refuses a key twice: the last of each key."""
    return list({key_of(word): word for word in words}.values())
