"""Sends bytes by several QUIC connections, each with several streams at once, and checks what comes back: quic_load.py HOST PORT CERTIFICATE
CONNECTIONS STREAMS BYTES. HOST has the addresses of the server's certificate. Then it waits for a line, connected."""
import asyncio
import hashlib
import random
import sys

from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration

host, port, certificate = sys.argv[1:4]
connections, streams, count = (int(word) for word in sys.argv[4:])


async def exchange(connection, seed):
    data = random.Random(seed).randbytes(count)
    reader, writer = await connection.create_stream()
    for at in range(0, count, 100_000):
        writer.write(data[at : at + 100_000])
        await asyncio.sleep(0)
    writer.write_eof()
    reply = await reader.read()
    assert reply[:32] == hashlib.sha256(data).digest(), f"stream {seed}: the server got something else"
    assert reply[32:] == data[::-1], f"stream {seed}: {len(reply)} bytes came back"


async def work(number, done, go_on):
    configuration = QuicConfiguration(alpn_protocols=["sluice-test"], server_name="localhost")
    configuration.load_verify_locations(certificate)
    async with connect(host, int(port), configuration=configuration) as connection:
        await asyncio.gather(*(exchange(connection, number * 1000 + i) for i in range(streams)))
        done.release()
        await go_on.wait()


async def main():
    done, go_on = asyncio.Semaphore(0), asyncio.Event()
    work_done = asyncio.gather(*(work(number, done, go_on) for number in range(connections)))
    for _ in range(connections):
        acquired = asyncio.ensure_future(done.acquire())
        await asyncio.wait([acquired, work_done], return_when=asyncio.FIRST_COMPLETED)
        if work_done.done():
            await work_done
    print("verified", connections * streams * count, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    go_on.set()
    await work_done


asyncio.run(main())
