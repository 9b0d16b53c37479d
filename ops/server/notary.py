"""The process of the notary: every few seconds it signs what is new, and publishes it.

It needs the database alone. While that is away it waits, and then goes on.
"""

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import structlog
from sqlalchemy import Engine

from core.base.db import begin
from core.base.errors import TransientError
from core.base.setting_values import notary_key
from core.base.settings import Settings
from core.notary import attestations
from core.notary.attestations import Attestation
from core.notary.following import ROWS, Altered
from core.notary.notary import News, Notary
from core.notary.publish import Publish, Refused, SealFile, Stamps, to_syslog, to_webhook
from core.notary.seals import Keypair, Seal, keypair, read
from core.notary.trees import write_nodes
from core.upkeep import heartbeats
from core.upkeep.heartbeats import State

logger = structlog.get_logger()

EVERY_S = 10.0
"""New rows are signed after so long, or when as many as one seal covers are decided.

An outcome that comes after the seal of its row takes three times as long to follow.
"""

LOOK_EVERY_S = 1.0


def earlier_keys_of(path: Path) -> Path:
    """Return the file beside a key that has the public keys of those before it."""
    return path.with_name(f"{path.name}.earlier")


class KeyFile:
    """The file with the notary's key, and the one beside it with the next key, which `pacioli notary rotate` makes."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def next_path(self) -> Path | None:
        return self.path and self.path.with_name(f"{self.path.name}.next")

    def next(self) -> Keypair | None:
        """Read the next key, if there is one."""
        if self.next_path is None or not self.next_path.exists():
            return None
        return keypair(notary_key(self.next_path.read_text().strip()))

    def take_over(self) -> None:
        """Put the next key in the place of the key that has handed over to it, whose public key is kept."""
        assert self.path is not None and self.next_path is not None
        with earlier_keys_of(self.path).open("a") as file:
            file.write(keypair(notary_key(self.path.read_text().strip())).public + "\n")
        self.next_path.replace(self.path)


class NotaryService:
    """Signs and publishes until it is told to stop."""

    def __init__(self, engine: Engine, key: Keypair, keys: KeyFile, file: SealFile | None, publish: Sequence[Publish]):
        self._engine, self._key, self._keys, self._file, self._publish = engine, key, keys, file, publish
        self._notary: Notary | None = None
        self._sealed_at = time.monotonic() - EVERY_S
        """The last time when all that was there was to be signed."""
        self._target = 0
        """The last row of the log that was there then."""
        self._unpublished: list[Seal | Attestation] = []
        self.problem: str | None = None
        """Why nothing more is signed, or what could not be published."""
        self._began = time.monotonic()
        self._name = heartbeats.name_of("notary")
        self._without_nodes: int | None = 0
        """The nodes of seals up to this one are there, or of all if it is None."""
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let ``run`` return."""
        self._stop.set()

    def run(self) -> None:
        """Sign and publish until ``stop`` is called."""
        heart = threading.Thread(target=self._beat, name="heart", daemon=True)
        heart.start()
        while not self._stop.is_set():
            pause = self.step()
            self._stop.wait(pause)
        heart.join(heartbeats.EVERY_S + 5)

    def step(self) -> float:
        """Sign what is new if it is time, and publish what was not published yet. Return the pause until the next step."""
        problem, more = None, False
        try:
            notary = self._open()
            if (next_key := self._keys.next()) is not None:
                notary.hand_over(next_key)
            news = notary.news()
            more = self._seal(notary, news, next_key)
            if news.verified:
                self._attest()
        except TransientError as error:
            logger.warning("the notary cannot reach the database", error=repr(error.__cause__ or error))
        except Altered as error:
            problem = f"{error}; nothing more is signed"
        except (OSError, ValueError) as error:
            problem = f"the notary cannot use its files: {error}"
        problem = self._send() or problem
        if problem is None and not more:
            self._write_nodes()
        if problem != self.problem and problem is not None:
            logger.error(
                "the notary signs nothing more" if "signed" in problem else "a seal was not published", error=problem
            )
        self.problem = problem
        return 0.0 if more else LOOK_EVERY_S

    def _seal(self, notary: Notary, news: News, next_key: Keypair | None) -> bool:
        """Sign what is new, if it is time. Return whether there is more to sign at once."""
        now = time.monotonic()
        is_due = news.anything and now - self._sealed_at >= EVERY_S
        if is_due:
            self._sealed_at, self._target = now, news.last_seq
        if not is_due and not self._has_more(notary, news):
            return False
        seal = notary.seal(max(self._target, news.decided_to))
        if seal is None:
            self._notary = None  # Another notary was quicker. Its seals are read before the next one is made.
            return False
        self._keep(seal)
        if next_key is not None:
            self._keys.take_over()
            self._key = next_key
            logger.info("the notary has another key", public_key=next_key.public)
        return self._has_more(notary, news)

    def _has_more(self, notary: Notary, news: News) -> bool:
        """Tell whether rows are left that were there when all was to be signed, or as many decided ones as a seal covers."""
        return notary.sealed_to < self._target or news.decided_to - notary.sealed_to >= ROWS

    def _write_nodes(self) -> None:
        """Write the nodes of a seal of a release that wrote none, while there is time."""
        if self._without_nodes is None:
            return
        try:
            self._without_nodes = write_nodes(self._engine, after=self._without_nodes)
        except TransientError as error:
            logger.warning("the nodes of old seals must wait", error=repr(error.__cause__ or error))

    def _attest(self) -> None:
        """Say how far the ledger was verified, if the verifier has come further."""
        attestation = self._open().attest()
        if attestation is None:
            return
        if self._file is not None:
            self._file.write(attestation)
        self._unpublished.append(attestation)
        statement = attestations.read(attestation)
        assert statement is not None
        logger.info("verified", sequence=statement.sequence, checkpoint=statement.checkpoint)

    def _open(self) -> Notary:
        """Return the notary. The first time it reads the seals that were made and not published."""
        if self._notary is None:
            notary = Notary(self._engine, self._key, self._file.last() if self._file is not None else None)
            if (next_key := self._keys.next()) is not None and notary.handed_over_to(next_key):
                self._keys.take_over()  # The process ended between the seal and this.
                self._key = next_key
                notary = Notary(self._engine, next_key, notary.last)
            for seal in notary.catch_up():
                if self._file is not None:
                    self._keep(seal)
            self._notary = notary
        return self._notary

    def _keep(self, seal: Seal) -> None:
        statement = read(seal)
        assert statement is not None
        if self._file is not None:
            self._file.write(seal)
        self._unpublished.append(seal)
        logger.info("sealed", number=statement.number, sequence=statement.last_seq, hash=seal.hash)

    def _send(self) -> str | None:
        """Publish what is not published yet, oldest first. Return what went wrong."""
        problem = None
        while self._unpublished:
            for publish in self._publish:
                try:
                    publish(self._unpublished[0])
                except (OSError, httpx.HTTPError, ValueError) as error:
                    problem = f"a seal could not be published: {_text(error)}"
            if problem is not None and len(self._unpublished) < _KEPT:
                return problem
            self._unpublished.pop(0)
        return problem

    def _beat(self) -> None:
        """Show that this process lives."""
        while not self._stop.wait(heartbeats.EVERY_S):
            state = State(pid=os.getpid(), up_s=time.monotonic() - self._began, problem=self.problem)
            try:
                with begin(self._engine) as conn:
                    heartbeats.record(conn, self._name, "notary", state)
            except TransientError:
                continue
        try:
            with begin(self._engine) as conn:
                heartbeats.forget(conn, self._name)
        except TransientError:
            pass


def _text(error: Exception) -> str:
    """Name a fault. The texts of a web client are left out, because they have the address, which may have a password."""
    return str(error) if type(error) is Refused else type(error).__name__


_KEPT = 1_000
"""So many seals wait for a place that does not take them. The file has all of them."""


def service_of(engine: Engine, settings: Settings, key_file: Path | None) -> NotaryService:
    """Make the service from the settings."""
    assert settings.notary_key is not None
    file = SealFile(Path(settings.notary_file)) if settings.notary_file else None
    publish: list[Publish] = []
    if settings.notary_syslog:
        publish.append(to_syslog(settings.notary_syslog))
    if settings.notary_webhook:
        publish.append(to_webhook(settings.notary_webhook))
    if settings.notary_timestamps and file is not None:
        publish.append(Stamps(settings.notary_timestamps, file).publish)
    return NotaryService(engine, keypair(settings.notary_key.reveal()), KeyFile(key_file), file, publish)
