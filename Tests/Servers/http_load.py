"""Asks for files without a pause and compares each answer: http_load.py PORT THREADS FOLDER. Says `ready` when every thread has
had answers, `more N` for each line that comes (when every thread has had answers since), and at the end of its input
`verified`, or what was wrong.

A server that goes away in order may close a kept connection just when a request is on its way: such a request, of which no byte was
answered, goes once more by a new connection, which must succeed. Nothing else may fail."""
import http.client
import os
import random
import sys
import threading

port, threads, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
files = {}
for name in os.listdir(folder):
    with open(os.path.join(folder, name), "rb") as file:
        files[name] = file.read()
done = [0] * threads
problems = []
stop = threading.Event()


def ask(connection, name):
    connection.request("GET", "/" + name)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    body = answer.read()
    assert body == files[name], f"{name}: other contents, {len(body)} bytes of {len(files[name])}"
    if answer.will_close:
        connection.close()


def work(number):
    choice = random.Random(number)
    connection = None
    try:
        while not stop.is_set():
            name = choice.choice(sorted(files))
            fresh = connection is None or connection.sock is None
            if fresh:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                ask(connection, name)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if fresh:
                    raise
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                ask(connection, name)
            if done[number] % 50 == 49 and number % 2:
                connection.close()
            done[number] += 1
    except Exception as error:
        problems.append(f"thread {number}, request {done[number]}: {error!r}")
        stop.set()


def progress(least):
    before = list(done)
    while any(now - then < least for now, then in zip(done, before)) and not stop.wait(0.005):
        pass


workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for worker in workers:
    worker.start()
progress(20)
print("ready", flush=True)
for line in sys.stdin:
    progress(20)
    print("more", sum(done), flush=True)
stop.set()
for worker in workers:
    worker.join()
print("; ".join(problems) or "verified", flush=True)
sys.exit(bool(problems))
