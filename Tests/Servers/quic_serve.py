"""A QUIC server: quic_serve.py HOST PORT CERTIFICATE KEY. It answers each stream, when its end has come, with the checksum of what came and
the same bytes backwards."""
import asyncio
import hashlib
import sys

from aioquic.asyncio import serve
from aioquic.quic.configuration import QuicConfiguration

host, port, certificate, key = sys.argv[1:]
tasks = set()


async def answer(reader, writer):
    data = await reader.read()
    writer.write(hashlib.sha256(data).digest() + data[::-1])
    writer.write_eof()


def begin(reader, writer):
    task = asyncio.ensure_future(answer(reader, writer))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def main():
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["sluice-test"])
    configuration.load_cert_chain(certificate, key)
    await serve(host, int(port), configuration=configuration, stream_handler=begin)
    await asyncio.Event().wait()


asyncio.run(main())
