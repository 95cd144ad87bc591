"""Stable salted hashes: the same person falls on the same side whoever computes it, and whenever."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def share(ids: NDArray[np.int64], seed: int, salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) for each customer, uniform, independent between salts and seeds."""
    key = hashlib.sha256(f"{seed}|{salt}".encode()).digest()
    first, second = (np.uint64(int.from_bytes(key[n : n + 8], "big")) for n in (0, 8))
    with np.errstate(over="ignore"):
        x = ids.astype(np.uint64) + first
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = (x ^ (x >> np.uint64(31))) ^ second
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def groups(position: NDArray[np.float64], weights: list[float]) -> NDArray[np.int8]:
    """Which of several shares each position falls in: 0, 1, … in order, −1 beyond the last."""
    edges = np.cumsum(weights)
    found = np.searchsorted(edges, position, side="right").astype(np.int8)
    found[found >= len(weights)] = -1
    return found
