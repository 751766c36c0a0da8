"""What a page may say of people and machines: pseudonyms for patients, the last part of a path."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from biocl.files import home

ALPHABET = "23456789CFGHJMPQRVWX"
"""No vowels, so that no pseudonym is a word, and no two letters that look alike."""
LETTERS = 8
KEY_FILE = "pseudonyms.key"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
POSIX = re.compile(r"(?<![\w.:/~…-])(?:~|\.\.)?(?:/[^\s/'\",;:()<>\[\]{}=|]+)+/?")
WINDOWS = re.compile(r"\b[A-Za-z]:\\[^\s'\",;:()<>\[\]{}=|]+")
COUNTED = r"%|samples?\b|steps?\b|windows?\b|folds?\b|patients?\b|draws?\b|trials?\b|recordings?\b|seeds?\b|s\b|Hz\b"
"""What stands behind a number that is a number, and no patient of that name."""


def pseudonym_key() -> tuple[bytes, bool]:
    """The secret of this installation, made when it is first needed, and whether it could be kept.

    Whoever reads a page cannot try out names without it; who has it gets the same pseudonyms on every page. A home that
    cannot be written to leaves a key for one page.
    """
    path = home() / KEY_FILE
    for _ in range(2):
        with suppress(OSError, ValueError):
            return bytes.fromhex(path.read_text(encoding="ascii").strip()), True
        key = secrets.token_bytes(32)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(key.hex())
        except FileExistsError:
            continue  # another process was first, or the file holds no key
        except OSError:
            break
        return key, True
    return key, False


def pseudonym(name: str, dataset: str, key: bytes) -> str:
    """``pt-7Q2XM9CF``: the same for the same patient of a data set under one key, and nothing without the key."""
    number = int.from_bytes(hmac.new(key, f"{dataset}\0{name}".encode(), "sha256").digest())
    letters = []
    for _ in range(LETTERS):
        number, place = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[place])
    return f"pt-{''.join(letters)}"


def shown(text: Any) -> str:
    """Text without control signs, marks of direction and halves of signs, which names may hold; one line."""
    kept = (" " if sign in "\n\r\t" else sign for sign in str(text))
    return "".join(UNKNOWN if unicodedata.category(sign) in ("Cc", "Cf", "Cs") else sign for sign in kept)


@dataclass(frozen=True)
class Privacy:
    """How a page of one data set names patients and places.

    Attributes
    ----------
    dataset : str
    names : tuple of str
        Every patient that the page could name.
    key : bytes
        Of the pseudonyms.
    show : bool
        Patients stand under their own names.
    words : frozenset of str
        Names that are no patient's even where a patient has the same: of classes, of the data set.
    """

    dataset: str
    names: tuple[str, ...]
    key: bytes = field(repr=False)
    show: bool = False
    words: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, dataset: str, names: Iterable[str], key: bytes, *, classes: Collection[str] = (), show: bool = False
    ) -> Privacy:
        """Classes keep their names, unless all of them are patients, whom the task is to tell apart."""
        patients = tuple(dict.fromkeys(names))
        people = bool(classes) and set(classes) <= set(patients)
        return cls(dataset, patients, key, show, frozenset({dataset, *(() if people else classes)}))

    def knowing(self, words: Collection[str]) -> Privacy:
        """The same with more words that are no patient's."""
        return replace(self, words=self.words | frozenset(words))

    def patient(self, name: str) -> str:
        """How a patient is called on the page."""
        return shown(name) if self.show else self.pseudonyms.get(name) or pseudonym(name, self.dataset, self.key)

    @cached_property
    def pseudonyms(self) -> Mapping[str, str]:
        """Of every patient that is known."""
        return {name: pseudonym(name, self.dataset, self.key) for name in self.names}

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """Any patient's name where it stands alone; a number only where nothing is counted by it."""
        found = [name for name in sorted(self.names, key=len, reverse=True) if name and name not in self.words]
        if self.show or not found:
            return None
        kept = "|".join(re.escape(word) for word in sorted(self.words, key=len, reverse=True) if word)
        words = "|".join(re.escape(name) for name in found if not name.isdigit())
        numbers = "|".join(name for name in found if name.isdigit())
        parts = [rf"(?P<kept>(?<![^\W_])(?:{kept})(?![^\W_]))"] if kept else []
        parts += [rf"(?<![^\W_])(?:{words})(?![^\W_])"] if words else []
        if numbers:
            before = r"(?<![^\W_])(?<!\d\.)(?<!step )(?<!seed )(?<!fold )(?<!repeat )"
            parts.append(rf"{before}(?:{numbers})(?![^\W_])(?!\.\d)(?!\s?(?:{COUNTED}))")
        return re.compile("|".join(parts))

    def prose(self, text: str) -> str:
        """A sentence in which patients have pseudonyms and paths only their last part."""
        text = WINDOWS.sub(lambda found: path_end(found.group()), shown(text))
        text = POSIX.sub(lambda found: path_end(found.group()), text)
        if self.pattern is None:
            return text
        return self.pattern.sub(lambda found: found[0] if is_kept(found) else self.patient(found[0]), text)

    def value(self, value: Any) -> Any:
        """A configuration's value: keys and numbers as they are, texts as in `prose`, whole paths shortened."""
        if isinstance(value, Mapping):
            return {shown(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if not isinstance(value, str):
            return value
        if value in self.names and value not in self.words:
            return self.patient(value)
        return self.prose(path_end(value) if is_far(value) else value)

    def command(self, text: str) -> str:
        """A command line: of ``key=value`` the value is read as a configuration's."""
        try:
            words = shlex.split(text)
        except ValueError:
            return self.prose(text)
        hidden = (self.word(word) for word in words)
        return " ".join(word if re.fullmatch(r"[\w@%+=:,./…-]+", word) else shlex.quote(word) for word in hidden)

    def word(self, word: str) -> str:
        """One word of a command line."""
        key, sign, value = word.partition("=")
        if sign:
            return f"{self.prose(key)}={self.word(value)}"
        return word if word.isdigit() else str(self.value(word))


def is_kept(found: re.Match[str]) -> bool:
    """Whether what was found is the name of a class, or of the data set, which may hold a patient's."""
    return found.groupdict().get("kept") is not None


def is_far(text: str) -> bool:
    """Whether a text is, as a whole, a path that leads out of the folder where a command was given."""
    return text.startswith(("/", "~", "../", "..\\")) or bool(re.match(r"[A-Za-z]:[\\/]", text))


def path_end(text: str) -> str:
    """``…/store`` of ``/home/someone/data/store``; of a home alone only ``…``."""
    pure = PureWindowsPath(text) if "\\" in text or re.match(r"[A-Za-z]:", text) else PurePosixPath(text)
    people = {Path.home().name, "~", "..", ""}
    is_home = pure.name in people or pure.parent.name.lower() in ("home", "users")
    return "…" if is_home else f"…/{pure.name}"
