#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the I/O runtime costs beside its peers. Contenders of a row take turns, round by round, each
in a process of its own; the table has medians, and ratios of medians. A bar holds against the best
peer, or against the one it names. Bars are reported, not asserted: the exit status is 0 when
everything was measured."""
import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


class BenchError(Exception):
    """A contender could not be measured."""


@dataclasses.dataclass(frozen=True)
class Bar:
    """own's median is at least, or at most, `limit` times the best of `peers`."""
    limit: float
    at_least: bool
    peers: tuple
    own: str = "partita"

    def best(self, medians):
        present = [peer for peer in self.peers if peer in medians]
        return (max if self.at_least else min)(present, key=medians.get, default=None)

    def met(self, ratio):
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self):
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"


@dataclasses.dataclass(frozen=True)
class Figure:
    key: str
    title: str
    bars: tuple = ()


@dataclasses.dataclass(frozen=True)
class Row:
    title: str
    seconds: float  # a round takes about so long
    figures: tuple
    contenders: tuple = ()  # arguments of the program; none: it takes turns and counts by itself


def more(limit, *peers, own="partita"):
    return Bar(limit, True, peers, own)


def less(limit, *peers, own="partita"):
    return Bar(limit, False, peers, own)


ECHO_PEERS = ("asio-epoll", "asio-uring", "asio-uring-inline", "libuv", "libuv-threads")
POST_PEERS = ("tbb-enqueue", "tbb-group", "asio", "libuv")

ROWS = {
    "deferred": Row("deferred completion against a ring per issuer: two that compute", 4, (
        Figure("requests_per_second", "requests/s", (more(1.2, "control", own="deferred"),)),
        Figure("interruptions_per_1000", "interruptions per 1,000 requests",
               (less(0.5, "control", own="deferred"),)),
        Figure("cpu_us_per_request", "CPU µs per request"))),
    "echo": Row("echo of 64 bytes with a 4 KiB cached read, 256 connections", 36, (
        Figure("requests_per_cpu_second", "requests per CPU-second", (more(1.3, *ECHO_PEERS),)),
        Figure("p99_us", "p99 in µs at equal load", (less(0.8, *ECHO_PEERS),)),
        Figure("switches_per_1000", "switches per 1,000 requests"))),
    "post": Row("a million empty items from two outside threads", 4, (
        Figure("items_per_second", "items/s", (more(2, *POST_PEERS),
                                               more(2, *POST_PEERS, own="partita-owned"))),
        Figure("switches", "context switches", (less(0.1, "asio"),)),
        Figure("cpu_seconds", "CPU s")), ("partita", "partita-owned", *POST_PEERS)),
    "fork": Row("fork-join tree 20 deep, leaves of about 100 ns", 1, (
        Figure("leaves_per_second", "leaves/s", (more(0.9, "tbb-invoke", "tbb-group"),)),
        Figure("cpu_seconds", "CPU s")), ("partita", "tbb-invoke", "tbb-group", "sequential")),
    "cancel": Row("cancel a group of a million queued items; clear a deque of as many", 1, (
        Figure("seconds", "s", (less(3, "deque"),
                                less(3, "deque-closure", own="partita-closure"))),),
                  ("partita", "deque", "partita-closure", "deque-closure")),
    "blocked": Row("one worker blocked in system calls, against none", 4, (
        Figure("items_per_second", "items/s", (more(0.9, "free", own="blocked"),
                                               more(0.9, "free", own="blocked-hinted"))),),
                   ("free", "blocked", "blocked-hinted")),
    "timers": Row("a million timers over 10 s, half cancelled", 33, (
        Figure("cpu_seconds", "CPU s", (less(0.2, "asio"), less(0.5, "libuv"))),
        Figure("switches", "context switches")), ("partita", "asio", "libuv")),
    "wheels": Row("sessions that re-arm a 100 ms timer: a wheel per worker, one for all", 36, (
        Figure("sessions", "sessions", (more(1.3, "shared", own="own"),)),), ("own", "shared")),
}


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# ---- measuring ----------------------------------------------------------------------------------


def programs(folder, rows):
    for name in rows:
        program = folder / f"{name}_bench"
        if not program.exists():
            raise BenchError(f"{program} is missing; cmake --preset release && "
                             f"cmake --build build/release builds it")


def run_one(program, contender):
    done = subprocess.run([program, contender], capture_output=True, text=True, timeout=600,
                          check=False)
    if done.returncode != 0:
        raise BenchError(f"{program.name} {contender}: status {done.returncode}: "
                         f"{done.stderr.strip()}")
    return json.loads(done.stdout)


def take_turns(name, row, program, rounds):
    for number in range(1, rounds + 1):
        for contender in row.contenders:
            yield dict(run_one(program, contender), round=number)
        say(f"{name}: round {number} of {rounds}")


def follow(name, program, rounds):
    """A program that runs all contenders in each round, and may begin with a round 0 to warm up."""
    last = 1
    with subprocess.Popen([program, "--rounds", str(rounds)], stdout=subprocess.PIPE,
                          text=True) as process:
        for line in process.stdout:
            record = json.loads(line)
            if record["round"] > last:
                say(f"{name}: round {last} of {rounds}")
                last = record["round"]
            if record["round"] > 0:
                yield record
    if process.returncode != 0:
        raise BenchError(f"{program.name}: status {process.returncode}")
    say(f"{name}: round {last} of {rounds}")


def measure(name, folder, rounds):
    row = ROWS[name]
    program = folder / f"{name}_bench"
    say(f"{name}: {row.title}; about {max(1, round(row.seconds * rounds / 60))} min")
    start = time.monotonic()
    load = os.getloadavg()[0]
    records = list(take_turns(name, row, program, rounds) if row.contenders
                   else follow(name, program, rounds))
    return {"row": name, "title": row.title, "rounds": rounds, "load_before": load,
            "seconds": round(time.monotonic() - start, 1), "records": records}


# ---- judging ------------------------------------------------------------------------------------


def values_of(records, figure):
    values = {}
    for record in records:
        values.setdefault(record["peer"], []).append(record[figure.key])
    return values


def judge(figure, medians):
    verdicts = []
    for bar in figure.bars:
        best = bar.best(medians)
        if best is None or bar.own not in medians:
            raise BenchError(f"{figure.key}: nothing to compare {bar.own} with")
        # Peers that were never interrupted, say, leave nothing to divide by.
        ratio = medians[bar.own] / medians[best] if medians[best] else (
            1.0 if medians[bar.own] == 0 else float("inf"))
        verdicts.append({"figure": figure.key, "own": bar.own, "best_peer": best, "ratio": ratio,
                         "bar": str(bar), "met": bar.met(ratio)})
    return verdicts


def summarize(result):
    result["figures"], result["verdicts"] = {}, []
    for figure in ROWS[result["row"]].figures:
        values = values_of(result["records"], figure)
        medians = {peer: statistics.median(seen) for peer, seen in values.items()}
        result["figures"][figure.key] = {
            peer: {"median": medians[peer], "least": min(seen), "most": max(seen)}
            for peer, seen in values.items()}
        result["verdicts"] += judge(figure, medians)
    return result


# ---- the table ----------------------------------------------------------------------------------


def number(value):
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"


def lines_of(result):
    row = ROWS[result["row"]]
    first = result["row"]
    for figure in row.figures:
        title = figure.title
        for peer, seen in result["figures"][figure.key].items():
            ratios, bars = [], []
            for verdict in result["verdicts"]:
                if verdict["figure"] == figure.key and verdict["own"] == peer:
                    ratios.append(f"{verdict['ratio']:.2f} × {verdict['best_peer']}")
                    bars.append(f"{verdict['bar']}: {'met' if verdict['met'] else 'MISSED'}")
            yield (first, title, peer, number(seen["median"]),
                   f"{number(seen['least'])} – {number(seen['most'])}", ", ".join(ratios),
                   ", ".join(bars))
            first = title = ""


def table(results):
    """Markdown that is readable as it is."""
    head = ("row", "figure", "contender", "median", "least – most", "ratio", "bar")
    right = (False, False, False, True, True, False, False)
    lines = [line for result in results for line in lines_of(result)]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def render(line):
        cells = (cell.rjust(width) if at_right else cell.ljust(width)
                 for cell, width, at_right in zip(line, widths, right))
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if at_right else "-")
                          for width, at_right in zip(widths, right)) + "|"
    return "\n".join([render(head), rule, *map(render, lines)])


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), "unknown processor")
    return {"date": datetime.date.today().isoformat(), "processor": model,
            "processors": len(os.sched_getaffinity(0)), "kernel": os.uname().release}


def arguments():
    parser = argparse.ArgumentParser(
        description="Times the I/O runtime beside its peers and prints one table.",
        epilog="Rows: " + "; ".join(f"{name}: {row.title}" for name, row in ROWS.items()) + ".")
    parser.add_argument("--rows", default=",".join(ROWS), metavar="NAME,...",
                        help="only these rows")
    parser.add_argument("--rounds", type=int, default=7, metavar="N",
                        help="rounds of each row (7; the bars want no fewer)")
    parser.add_argument("--programs", type=pathlib.Path, metavar="FOLDER",
                        default=ROOT / "build/release/tests/bench", help="where *_bench are")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        default=ROOT / "build/release/runtime-bench.json",
                        help="every figure of every round goes there")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"--rows: no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if options.rounds < 1:
        parser.error(f"--rounds: {options.rounds} is not at least 1")
    return options


def main():
    options = arguments()
    try:
        programs(options.programs, options.rows)
        results = [summarize(measure(name, options.programs, options.rounds))
                   for name in options.rows]
    except (BenchError, OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        sys.exit(f"bench: {error}")
    about = machine()
    options.json.write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n",
                            encoding="utf-8")
    verdicts = [verdict for result in results for verdict in result["verdicts"]]
    print(table(results))
    print(f"\nMedians of {options.rounds} interleaved rounds on {about['date']}; "
          f"{about['processors']} × {about['processor']}, Linux {about['kernel']}. "
          f"{sum(verdict['met'] for verdict in verdicts)} of {len(verdicts)} bars met.")
    say(f"every figure is in {options.json}")


if __name__ == "__main__":
    main()
