"""Damaged ledgers, reproducible from a seed: what a decoder must refuse, or accept exactly as the reference does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

_WORDS: Final = (0, 1, 2, 3, 4, 5, 16, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)


class Mutant(NamedTuple):
    name: str
    data: bytes


def mutants(bases: Sequence[bytes], count: int, seed: int) -> Iterator[Mutant]:
    """`count` damaged copies. The name holds what is needed to make one again."""
    chance = random.Random(seed)
    for number in range(count):
        base = chance.choice(bases)
        data = base
        names = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            damage = chance.choice(_DAMAGES)
            names.append(damage.__name__.strip("_"))
            data = damage(data, chance, bases) if data else data
        yield Mutant(f"seed {seed}, mutant {number} of {len(base)} bytes: {', '.join(names)}", data)


def _aligned(data: bytes, chance: random.Random) -> int:
    return chance.randrange(max(1, len(data) // 4)) * 4


def _flip_bit(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def _set_byte(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes((chance.randrange(256),)) + data[at + 1 :]


def _set_word(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at = _aligned(data, chance)
    return data[:at] + chance.choice(_WORDS).to_bytes(4, "big") + data[at + 4 :]


def _change_small_word(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    """A discriminant, flag or length becomes its neighbour: small words are mostly one of these."""
    for _attempt in range(64):
        at = _aligned(data, chance)
        word = int.from_bytes(data[at : at + 4], "big")
        if word < 64 and at + 4 <= len(data):
            changed = max(0, word + chance.choice((-2, -1, 1, 2, 3)))
            return data[:at] + changed.to_bytes(4, "big") + data[at + 4 :]
    return data


def _truncate(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: chance.randrange(len(data))]


def _append(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    return data + bytes(chance.randrange(256) for _ in range(chance.choice((1, 2, 4, 8))))


def _remove(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at = _aligned(data, chance)
    return data[:at] + data[at + chance.choice((1, 4, 8, 32, 36)) :]


def _repeat(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at = _aligned(data, chance)
    return data[:at] + data[at : at + chance.choice((4, 8, 36, 100))] + data[at:]


def _splice(data: bytes, chance: random.Random, bases: Sequence[bytes]) -> bytes:
    """A piece of another ledger over a piece of this one."""
    other = chance.choice(bases)
    at, start, size = _aligned(data, chance), _aligned(other, chance), chance.choice((4, 8, 40, 200, 1000))
    return data[:at] + other[start : start + size] + data[at + size :]


_DAMAGES: Final[tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...]] = (
    _flip_bit,
    _flip_bit,
    _set_byte,
    _set_word,
    _change_small_word,
    _change_small_word,
    _change_small_word,
    _truncate,
    _append,
    _remove,
    _repeat,
    _splice,
)
