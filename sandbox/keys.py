"""The network's keys, all derived: the root from the passphrase as on every Stellar network, the rest from the seed."""

from hashlib import sha256

from stellar_sdk import Keypair


class Keyring:
    """Key pairs by purpose and index; the same seed gives the same keys. These keys protect nothing: never reuse them."""

    def __init__(self, network_passphrase: str, seed: int) -> None:
        self.network_id = sha256(network_passphrase.encode()).digest()
        self.root = Keypair.from_raw_ed25519_seed(self.network_id)
        self._seed = seed
        self._keys: dict[tuple[str, int], Keypair] = {}
        self.validator = self._key("validator", 0)

    def issuer(self, index: int) -> Keypair:
        return self._key("issuer", index)

    def member(self, index: int) -> Keypair:
        return self._key("member", index)

    def _key(self, purpose: str, index: int) -> Keypair:
        found = self._keys.get((purpose, index))
        if found is None:
            material = self.network_id + f"lumenstream sandbox {self._seed} {purpose} {index}".encode()
            found = Keypair.from_raw_ed25519_seed(sha256(material).digest())
            self._keys[purpose, index] = found
        return found
