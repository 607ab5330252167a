"""Fetches the same files often over one connection and compares them: http_keep.py PORT TIMES FILE...; then waits for a line."""
import http.client
import os
import sys

port, times, files = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
count = 0
for _ in range(times):
    for path in files:
        with open(path, "rb") as file:
            wanted = file.read()
        connection.request("GET", "/" + os.path.basename(path))
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        assert answer.read() == wanted, f"{path}: other contents"
        assert not answer.will_close
        count += 1
print(f"verified {count}", flush=True)
sys.stdin.readline()
