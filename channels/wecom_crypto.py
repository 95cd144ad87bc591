"""WeCom's callback envelope: AES-256-CBC around a length-prefixed text, and a SHA-1 signature over its parts."""

import base64
import binascii
import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 32  # WeCom pads to 32 octets, not to AES's 16


class BadEnvelope(Exception):
    """The envelope does not open: another key, another receiver, or not WeCom's at all."""


def signature(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    return hashlib.sha1("".join(sorted((token, timestamp, nonce, encrypted))).encode()).hexdigest()  # noqa: S324


def signed_by(token: str, timestamp: str, nonce: str, encrypted: str, given: str) -> bool:
    return hmac.compare_digest(signature(token, timestamp, nonce, encrypted), given)


def _cipher(aes_key: str) -> Cipher[modes.CBC]:
    try:
        key = base64.b64decode(aes_key + "=", validate=True)
    except binascii.Error as error:
        raise BadEnvelope("the EncodingAESKey is not base64") from error
    if len(aes_key) != 43 or len(key) != 32:
        raise BadEnvelope("the EncodingAESKey must have 43 characters, as WeCom's console shows it")
    return Cipher(algorithms.AES(key), modes.CBC(key[:16]))


def seal(aes_key: str, text: str, receiver: str) -> str:
    """The base64 envelope of ``text`` for a corp. Raises :class:`BadEnvelope` on an impossible key."""
    content = text.encode()
    plain = os.urandom(16) + struct.pack(">I", len(content)) + content + receiver.encode()
    pad = BLOCK - len(plain) % BLOCK
    worker = _cipher(aes_key).encryptor()
    return base64.b64encode(worker.update(plain + bytes((pad,)) * pad) + worker.finalize()).decode()


def unseal(aes_key: str, encrypted: str, receiver: str) -> str:
    """The text of an envelope sent to ``receiver``. Raises :class:`BadEnvelope`."""
    worker = _cipher(aes_key).decryptor()
    try:
        sealed = base64.b64decode(encrypted, validate=True)
        plain = worker.update(sealed) + worker.finalize()
    except (binascii.Error, ValueError) as error:
        raise BadEnvelope("the envelope is not whole") from error
    if not plain or not 1 <= plain[-1] <= BLOCK or len(plain) < 20 + plain[-1]:
        raise BadEnvelope("the envelope does not open with this key")
    plain = plain[: -plain[-1]]
    (length,) = struct.unpack(">I", plain[16:20])
    content, to = plain[20 : 20 + length], plain[20 + length :]
    if len(content) != length or to != receiver.encode():
        raise BadEnvelope("the envelope is for another receiver, or does not open with this key")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadEnvelope("the envelope does not open with this key") from error
