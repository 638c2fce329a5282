#!/usr/bin/env python3
"""Speed against PostgreSQL 15 on this machine, in the same run.

Starts PostgreSQL (default configuration apart from port, socket and data directory) and `stratos dev` (durability fsync), both
on loopback with data directories of their own, runs every load on each of them in turn, several times, and prints medians and
ratios. A load that fails on one side is printed as failed, with the error, and the others go on. Both servers are stopped at
the end, also after an error. Python's standard library only.
"""

import argparse
import os
import pwd
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCOUNTS_PER_SCALE = 100_000
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
# What a bulk load may take before it counts as failed.
BULK_TIMEOUT_S = 1800
# How long a server is left alone before its memory at rest is read.
REST_S = 3
# Between two looks at a server's memory; each makes the kernel walk through its pages, so not often.
MEMORY_LOOK_S = 1

POSTGRES, STRATOS = "PostgreSQL", "Stratos"
GROUP_BY = "SELECT bid, count(*), sum(abalance), avg(abalance) FROM pgbench_accounts GROUP BY bid"


class LoadFailed(Exception):
    """A load that did not run to its end; the message is for the report."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gist(text):
    """What a program's output says about its failure: its first errors, or else its last lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|fatal|panic", line, re.IGNORECASE)]
    return " | ".join(errors[:2] or lines[-2:])[:400] or "no message"


class Server:
    """One side: a process with a data directory, reached over TCP as role and database `stratos`."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = free_port()
        self.process = None

    def command(self):
        raise NotImplementedError

    def identity(self):
        """Keyword arguments of Popen: the user that the server runs as."""
        return {}

    def start(self):
        """Starts the server; waits until it answers."""
        begin = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                start_new_session=True, **self.identity(),
            )
        while time.monotonic() - begin < START_TIMEOUT_S:
            if self.process.poll() is not None:
                raise LoadFailed(f"{self.name} ended at its start: {gist(self.log.read_text(errors='replace'))}")
            if self.listens() and self.psql("SELECT 1", check=False).returncode == 0:
                return
            time.sleep(0.02)
        raise LoadFailed(f"{self.name} did not answer within {START_TIMEOUT_S} s")

    def ended(self):
        return self.process is None or self.process.poll() is not None

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                print(f"{self.name} did not stop within {STOP_TIMEOUT_S} s: killed", file=sys.stderr)
                self.process.kill()
                self.process.wait()
        self.process = None

    def environment(self):
        return {
            **os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "stratos", "PGDATABASE": "stratos",
            "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C.UTF-8",
            # The peer's data directory is made without certificates, and encryption is not what is compared.
            "PGSSLMODE": "disable",
        }

    def run(self, command, timeout, text=None, check=True):
        """A client's run. With `check`, anything but success is a [`LoadFailed`]."""
        if self.ended():
            raise LoadFailed(f"{self.name} is not running: {gist(self.log.read_text(errors='replace'))}")
        try:
            done = subprocess.run(
                [str(part) for part in command], input=text, env=self.environment(), cwd=self.folder, timeout=timeout,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LoadFailed(f"no end after {timeout} s") from error
        if check and done.returncode != 0:
            raise LoadFailed(gist(done.stderr))
        return done

    def psql(self, script, timeout=60, check=True):
        return self.run([ARGS.pg_bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"], timeout, script, check)

    def pgbench(self, *options, timeout=BULK_TIMEOUT_S):
        return self.run([ARGS.pg_bin / "pgbench", *options], timeout)

    def timed(self, script, timeout=BULK_TIMEOUT_S):
        """Seconds of the last statement of a psql script, as psql's \\timing has them."""
        out = self.psql("\\timing on\n" + script, timeout).stdout
        times = re.findall(r"^Time: ([\d.]+) ms", out, re.MULTILINE)
        if not times:
            raise LoadFailed("psql printed no time")
        return float(times[-1]) / 1000

    def processes(self):
        """The server's process and its descendants."""
        if self.process is None:
            return []
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        found = {self.process.pid}
        grown = True
        while grown:
            children = {pid for pid, parent in parents.items() if parent in found}
            grown = not children <= found
            found |= children
        return sorted(found)

    def memory_mb(self):
        """(VmRSS of all processes added up, the same with shared pages counted once), in MB."""
        resident = proportional = 0
        for pid in self.processes():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            resident += int((re.search(r"^VmRSS:\s+(\d+)", status, re.MULTILINE) or [0, 0])[1])
            proportional += int((re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE) or [0, 0])[1])
        return resident / 1024, proportional / 1024

    def disk_mb(self):
        """(everything in the data directory, that without the write-ahead log), allocated MB."""
        total = log = 0
        for folder, _, files in os.walk(self.data):
            inside_log = self.log_folder in Path(folder).relative_to(self.data).parts
            for file in files:
                try:
                    size = os.lstat(os.path.join(folder, file)).st_blocks * 512
                except OSError:
                    continue
                total += size
                log += size if inside_log else 0
        return total / 2**20, (total - log) / 2**20


class Postgres(Server):
    stop_signal = signal.SIGINT
    log_folder = "pg_wal"

    def __init__(self, folder):
        super().__init__(POSTGRES, folder)
        # PostgreSQL refuses to run as root.
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        subprocess.run(
            [ARGS.pg_bin / "initdb", "--no-instructions", "--auth=trust", "--username=stratos", "--encoding=UTF8",
             "--locale=C.UTF-8", "--pgdata", self.data],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **self.identity(),
        )
        subprocess.run(
            [ARGS.pg_bin / "postgres", "--single", "-D", self.data, "postgres"], input="CREATE DATABASE stratos", text=True,
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **self.identity(),
        )

    def identity(self):
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def command(self):
        return [ARGS.pg_bin / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.folder]

    def version(self):
        return self.psql("SHOW server_version").stdout.strip()


class Stratos(Server):
    stop_signal = signal.SIGTERM
    log_folder = "log"

    def __init__(self, folder):
        super().__init__(STRATOS, folder)
        self.http_port = free_port()

    def command(self):
        return [
            ARGS.binary, "dev", "--data", self.data, "--sql-addr", f"127.0.0.1:{self.port}",
            "--http-addr", f"127.0.0.1:{self.http_port}", "--durability", "fsync",
        ]

    def version(self):
        return subprocess.run([ARGS.binary, "version"], check=True, capture_output=True, text=True).stdout.strip()


class MemoryPeak:
    """Watches a server's memory while something runs on it."""

    def __init__(self, server):
        self.server = server
        self.peak = (0.0, 0.0)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def look(self):
        self.peak = max(self.peak, self.server.memory_mb(), key=lambda memory: memory[1])

    def watch(self):
        while not self.over.wait(MEMORY_LOOK_S):
            self.look()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        # A load may be shorter than the pause between two looks.
        self.look()


class Load:
    """Something to measure on both sides. `target` bounds the ratio Stratos : PostgreSQL of speeds, or of durations for
    loads with `at_most`."""

    def __init__(self, key, title, unit, target, measure, at_most=False, more_is_better=True, repeats=None):
        self.key = key
        self.title = title
        self.unit = unit
        self.target = target
        self.measure = measure
        self.at_most = at_most
        self.more_is_better = more_is_better
        self.repeats = repeats
        self.results = {POSTGRES: [], STRATOS: []}
        self.errors = {}

    def median(self, side):
        return statistics.median(self.results[side]) if self.results[side] else None

    def ratio(self):
        peer, ours = self.median(POSTGRES), self.median(STRATOS)
        if not peer or not ours:
            return None
        return ours / peer if self.more_is_better or self.at_most else peer / ours

    def reached(self):
        ratio = self.ratio()
        if ratio is None:
            return "NO" if STRATOS in self.errors else "?"
        return "yes" if (ratio <= self.target if self.at_most else ratio >= self.target) else "NO"


def throughput(*options):
    """Transactions per second of a pgbench run; connecting is not counted."""

    def measure(server):
        out = server.pgbench(
            "-c", ARGS.clients, "-j", min(2, ARGS.clients), "-T", ARGS.seconds, *options, timeout=ARGS.seconds * 3 + 120
        ).stdout
        found = re.search(r"^tps = ([\d.]+) \(without", out, re.MULTILINE)
        if not found or float(found[1]) == 0:
            raise LoadFailed(f"pgbench printed no rate: {gist(out)}")
        failed = re.search(r"^number of failed transactions: (\d+)", out, re.MULTILINE)
        if failed and int(failed[1]):
            raise LoadFailed(f"{failed[1]} transactions failed")
        return float(found[1])

    return measure


def point_latency(server):
    """Median latency in microseconds of a prepared point SELECT with one client, from pgbench's log of every transaction."""
    with tempfile.TemporaryDirectory(dir=server.folder.parent) as folder:
        server.pgbench(
            "-S", "-M", "prepared", "-c", 1, "-T", ARGS.seconds, "-l", "--log-prefix", f"{folder}/latency",
            timeout=ARGS.seconds * 3 + 120,
        )
        latencies = [
            int(line.split()[2]) for file in Path(folder).iterdir() for line in file.read_text().splitlines()
        ]
    if not latencies:
        raise LoadFailed("pgbench logged no transaction")
    return statistics.median(latencies)


def copy_in(file):
    """Seconds of a \\copy of pgbench_accounts' rows into an empty table with a primary key."""

    def measure(server):
        server.psql(
            "DROP TABLE IF EXISTS bench_copy;\n"
            "CREATE TABLE bench_copy (aid int PRIMARY KEY, bid int, abalance int, filler char(84));", timeout=600
        )
        seconds = server.timed(f"\\copy bench_copy FROM '{file}'\n")
        rows = server.psql("SELECT count(*) FROM bench_copy", BULK_TIMEOUT_S).stdout.strip()
        if rows != str(ARGS.copy_rows):
            raise LoadFailed(f"{rows} of {ARGS.copy_rows} rows arrived")
        server.psql("DROP TABLE bench_copy", timeout=600)
        return seconds

    return measure


def group_by(server):
    """Seconds of the aggregate over all accounts, the first of two runs in a session warming it up."""
    return server.timed(f"\\o /dev/null\n{GROUP_BY};\n{GROUP_BY};\n")


def write_accounts(file):
    with file.open("w") as out:
        for aid in range(1, ARGS.copy_rows + 1):
            out.write(f"{aid}\t{(aid - 1) // ACCOUNTS_PER_SCALE + 1}\t0\t\n")
    file.chmod(0o644)


def loads(accounts_file):
    clients = f"{ARGS.clients} clients"
    return [
        Load("select-prepared", f"pgbench -S -M prepared, {clients}", "tps", 1.0, throughput("-S", "-M", "prepared")),
        Load("select-simple", f"pgbench -S -M simple, {clients}", "tps", 0.7, throughput("-S", "-M", "simple")),
        Load("update-prepared", f"pgbench -N -M prepared, {clients}", "tps", 1.0, throughput("-N", "-M", "prepared")),
        Load("update-simple", f"pgbench -N -M simple, {clients}", "tps", None, throughput("-N", "-M", "simple")),
        Load("tpcb-prepared", f"pgbench TPC-B -M prepared, {clients}", "tps", 0.8, throughput("-M", "prepared")),
        Load("tpcb-simple", f"pgbench TPC-B -M simple, {clients}", "tps", None, throughput("-M", "simple")),
        Load("copy", f"COPY IN of {ARGS.copy_rows:,} accounts", "s", 1.0, copy_in(accounts_file), more_is_better=False),
        Load("group-by", f"GROUP BY over {ARGS.scale * ACCOUNTS_PER_SCALE:,} rows", "s", 1.5, group_by,
             more_is_better=False, repeats=max(ARGS.rounds, 5)),
        Load("latency", "point SELECT -M prepared, 1 client, p50", "µs", 1.3, point_latency, at_most=True,
             more_is_better=False),
    ]


def run_load(load, servers, peaks):
    for turn in range(load.repeats or ARGS.rounds):
        # Who goes first alternates, so that neither side always finds the machine as the other left it.
        for server in servers if turn % 2 == 0 else reversed(servers):
            if server.name in load.errors:
                continue
            try:
                if server.ended():
                    progress(f"{server.name} had ended and is started again")
                    server.start()
                with MemoryPeak(server) as memory:
                    value = load.measure(server)
            except LoadFailed as error:
                load.errors[server.name] = str(error)
                progress(f"{load.title}: {server.name} FAILED: {error}")
                continue
            load.results[server.name].append(value)
            peaks[server.name] = max(peaks[server.name], memory.peak, key=lambda peak: peak[1])
            progress(f"{load.title}: {server.name} {shown(value, load.unit)}")


def progress(text):
    print(f"  [{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def shown(value, unit):
    if value is None:
        return "failed"
    digits = 0 if value >= 100 else 1 if value >= 10 else 3
    return f"{value:,.{digits}f} {unit}"


def print_table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def report(all_loads, sizes, at_rest, peaks, starts, initial):
    rows = [("load", POSTGRES, STRATOS, "ratio", "target", "reached")]
    for load in all_loads:
        ratio = load.ratio()
        rows.append((
            load.title, shown(load.median(POSTGRES), load.unit), shown(load.median(STRATOS), load.unit),
            f"{ratio:.2f}" if ratio else "-",
            "-" if load.target is None else f"{'≤' if load.at_most else '≥'} {load.target}",
            "-" if load.target is None else load.reached(),
        ))

    def extra(title, values, unit, bound=None):
        # Nothing measured is nothing, not zero.
        peer, ours = values.get(POSTGRES) or None, values.get(STRATOS) or None
        reached = "-" if bound is None else "yes" if ours is not None and ours <= bound else "NO"
        rows.append((
            title, shown(peer, unit), shown(ours, unit), f"{ours / peer:.2f}" if ours and peer else "-",
            "-" if bound is None else f"≤ {bound} {unit}", reached,
        ))

    def part(values, index):
        return {side: value[index] for side, value in values.items()}

    extra(f"pgbench -i, scale {ARGS.scale}", initial, "s")
    extra("start of the filled node until a SELECT answers", starts, "s", 2)
    extra("memory at rest, VmRSS of all processes", part(at_rest, 0), "MB")
    extra("memory at rest, shared pages once", part(at_rest, 1), "MB")
    extra("memory under load, peak VmRSS", part(peaks, 0), "MB")
    extra("memory under load, shared pages once", part(peaks, 1), "MB")
    extra("disk after pgbench -i, with the log", part(sizes, 0), "MB")
    extra("disk after pgbench -i, without the log", part(sizes, 1), "MB")
    print_table(rows)
    print("\nRatios are of speeds (Stratos : PostgreSQL), and of the values themselves for latency,\npgbench -i, start, memory and disk.")
    for load in all_loads:
        for side, error in load.errors.items():
            print(f"failed: {load.title}, {side}: {error}")


def attempt(title, action, servers):
    """`action(server)` for each side; a side that fails is reported and left out of the answer."""
    answers = {}
    for server in servers:
        try:
            answers[server.name] = action(server)
            progress(f"{title}: {server.name} done")
        except LoadFailed as error:
            progress(f"{title}: {server.name} FAILED: {error}")
            print(f"failed: {title}, {server.name}: {error}")
    return answers


def initialise(server):
    begin = time.monotonic()
    server.pgbench("-i", "-s", ARGS.scale, "-q")
    return time.monotonic() - begin


def accounts_of(server):
    rows = server.psql("SELECT count(*) FROM pgbench_accounts", BULK_TIMEOUT_S).stdout.strip()
    if rows != str(ARGS.scale * ACCOUNTS_PER_SCALE):
        raise LoadFailed(f"pgbench_accounts has {rows} rows")
    return int(rows)


def answer_of(server):
    return tuple(sorted(server.psql(GROUP_BY, BULK_TIMEOUT_S).stdout.splitlines()))


def restart(server):
    server.stop()
    seconds = []
    for _ in range(ARGS.rounds):
        begin = time.monotonic()
        server.start()
        server.psql("SELECT abalance FROM pgbench_accounts WHERE aid = 4711")
        seconds.append(time.monotonic() - begin)
        server.stop()
    return statistics.median(seconds)


def rest(server):
    server.stop()
    server.start()
    time.sleep(REST_S)
    return server.memory_mb()


def file_system(folder):
    best = ("", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind = line.split()[:3]
        if str(folder).startswith(mount) and len(mount) > len(best[0]):
            best = (mount, kind)
    return best[1]


def bench(folder):
    servers = []
    try:
        for make in (Postgres, Stratos):
            own = folder / make.__name__.lower()
            own.mkdir(mode=0o755)
            server = make(own)
            servers.append(server)
            server.start()
        kind = file_system(folder)
        print(f"{POSTGRES} {servers[0].version()} and {servers[1].version()} on {os.cpu_count()} cores; "
              f"{ARGS.rounds} rounds of {ARGS.seconds} s, scale {ARGS.scale}, both durable (fsync), data on {kind}")
        if kind in ("tmpfs", "ramfs"):
            print("note: the data directories are in memory, so that fsync costs nothing: choose a disk with --dir")
        busy = os.getloadavg()[0]
        if busy > 1:
            print(f"note: the machine is busy with something else (load {busy:.1f}): the figures waver")
        if "debug" in Path(ARGS.binary).parts:
            print("note: this is a development build of stratos: its figures say little")

        initial = attempt("pgbench -i", initialise, servers)
        filled = attempt("counting the accounts", accounts_of, servers)
        ready = [server for server in servers if server.name in filled]
        answers = attempt("answers compared", answer_of, ready)
        if len(set(answers.values())) > 1:
            print("note: the sides answer the GROUP BY differently, so that its times compare nothing")
        starts = attempt("start of the filled node", restart, ready)
        sizes = {server.name: server.disk_mb() for server in ready}
        at_rest = attempt("memory at rest", rest, servers)

        accounts = folder / "accounts.tsv"
        write_accounts(accounts)
        peaks = {POSTGRES: (0.0, 0.0), STRATOS: (0.0, 0.0)}
        all_loads = [load for load in loads(accounts) if not ARGS.only or load.key in ARGS.only.split(",")]
        for load in all_loads:
            if load.key != "copy":
                load.errors = {server.name: "its tables could not be filled" for server in servers if server not in ready}
            run_load(load, servers, peaks)
        print()
        report(all_loads, sizes, at_rest, peaks, starts, initial)
    finally:
        for server in servers:
            server.stop()


def default_binary():
    target = subprocess.run([ROOT / "scripts/target-dir.sh"], capture_output=True, text=True, check=False).stdout.strip()
    return Path(target or ROOT / "target") / "release" / "stratos"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, help="the stratos binary (default: the release build)")
    parser.add_argument("--pg-bin", type=Path, default=Path("/usr/lib/postgresql/15/bin"), help="PostgreSQL's programs")
    parser.add_argument("--dir", type=Path, help="where the data directories are made (default: the system's temporary folder)")
    parser.add_argument("--seconds", type=int, default=10, help="length of a pgbench run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each load on each side")
    parser.add_argument("--scale", type=int, default=10, help="pgbench's scale factor")
    parser.add_argument("--clients", type=int, default=8, help="concurrent pgbench clients")
    parser.add_argument("--copy-rows", type=int, default=1_000_000, help="rows of the COPY load")
    parser.add_argument("--only", help="keys of the loads to run, with commas between: select-prepared, select-simple, "
                        "update-prepared, update-simple, tpcb-prepared, tpcb-simple, copy, group-by, latency")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s at scale 1: does everything run?")
    parser.add_argument("--keep", action="store_true", help="leave the data directories and the servers' logs")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.rounds, args.scale, args.copy_rows = 2, 1, 1, ACCOUNTS_PER_SCALE
    args.binary = (args.binary or default_binary()).resolve()
    for program in (args.binary, args.pg_bin / "postgres", args.pg_bin / "pgbench"):
        if not program.exists():
            parser.error(f"{program} does not exist")
    return args


def main():
    # A request to stop unwinds like an error, so that both servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="stratos-bench-", dir=ARGS.dir))
    # PostgreSQL's user must be able to reach its own folder below this one.
    folder.chmod(0o755)
    try:
        bench(folder)
    except (LoadFailed, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        if ARGS.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    ARGS = arguments()
    sys.exit(main())
