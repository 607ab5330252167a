"""Echo by asyncio streams: `asyncio_echo.py serve` prints its port and serves until its input ends;
`asyncio_echo.py load PORT CONNECTIONS MESSAGES` compares every answer, then waits for a line, connected."""
import asyncio
import random
import sys


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def serve():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


async def client(port, messages, seed):
    choice = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(messages):
        message = choice.randbytes(choice.choice((1, 64, 1000, 5000, 100_000) if choice.random() < 0.1 else (1, 64, 1000)))
        writer.write(message)
        await writer.drain()
        answer = await reader.readexactly(len(message))
        assert answer == message, "other contents"
    return writer


async def load(port, connections, messages):
    writers = await asyncio.wait_for(asyncio.gather(*(client(port, messages, seed) for seed in range(connections))), 240)
    print(f"verified {connections * messages}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    for writer in writers:
        writer.close()
        await writer.wait_closed()


asyncio.run(serve() if sys.argv[1] == "serve" else load(*map(int, sys.argv[2:5])))
