"""Measures Python's pools: a request as a line of JSON, an answer as a line of JSON."""

import concurrent.futures
import ctypes
import hashlib
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import threading
import time

LARGE = 64 * 1024
SMALL = 64


def die_with_parent():
    """A process of the pool must not outlive who started it (PR_SET_PDEATHSIG)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (AttributeError, OSError):
        pass


def work(payload):
    """What a task does: nothing, a hash, or giving back what came."""
    if not payload:
        return None
    if len(payload) >= LARGE:
        return payload
    return hashlib.sha256(payload).digest()[:16]


def payload(workload, round_number, i):
    if workload == "array":
        return b""
    size = LARGE if workload == "large" else SMALL
    head = ((round_number << 32) | i).to_bytes(8, "big")
    return head + random.Random(i).randbytes(size - len(head))


def run_command(line):
    return subprocess.run(["echo", line], capture_output=True, check=True).stdout


def one_by_one(call, inputs, clients):
    """Each of the clients has one call under way at a time."""
    results = [None] * len(inputs)
    latencies = [0.0] * len(inputs)

    def client(first):
        for i in range(first, len(inputs), clients):
            began = time.perf_counter()
            results[i] = call(inputs[i])
            latencies[i] = time.perf_counter() - began

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    start = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results, time.perf_counter() - start, latencies


def main():
    kind, workload, workers, slots = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    die_with_parent()
    if workload == "commands":
        pool = concurrent.futures.ThreadPoolExecutor(slots)
        each = lambda inputs: pool.map(run_command, inputs)
    elif kind == "futures":
        pool = concurrent.futures.ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("fork"), initializer=die_with_parent)
        each = lambda inputs: pool.map(work, inputs, chunksize=1)
        call = lambda p: pool.submit(work, p).result()
    else:
        pool = multiprocessing.get_context("fork").Pool(workers, initializer=die_with_parent)
        each = lambda inputs: pool.map(work, inputs, chunksize=1)
        call = lambda p: pool.apply(work, (p,))
    if workload != "commands":
        # All processes start now, from this thread: one that a thread has started would
        # end with it.
        list(pool.map(time.sleep, [0.05] * workers))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        n = request["tasks"]
        answer = {}
        if workload == "commands":
            inputs = ["line-%06d" % i for i in range(n)]
            wanted = [(line + "\n").encode() for line in inputs]
        else:
            inputs = [payload(workload, request["round"], i) for i in range(n)]
            wanted = [work(p) for p in inputs]
        if workload in ("single", "clients"):
            clients = 1 if workload == "single" else request["clients"]
            results, seconds, answer["latencies"] = one_by_one(call, inputs, clients)
        else:
            start = time.perf_counter()
            results = list(each(inputs))
            seconds = time.perf_counter() - start
        answer["seconds"] = seconds
        if results != wanted:
            answer["error"] = "the results of the pool are not the right ones"
        print(json.dumps(answer), flush=True)
    if kind == "pool" and workload != "commands":
        pool.terminate()
    else:
        pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()
