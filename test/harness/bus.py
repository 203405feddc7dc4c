"""nats-py without an event loop in the test: a blocking client."""
import asyncio
import threading

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig

from .settings import PATIENCE

READ_BITS = 64_000_000  # a second


class Bus:
    """One NATS connection as a given user, every call blocking; for tests, so plain and slow is fine."""

    def __init__(self, server, user="admin", password=None):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.errors = []

        async def on_error(error):
            self.errors.append(str(error))

        async def connect():
            return await nats.connect(server.url, user=user, password=password or server.passwords[user],
                                      error_cb=on_error, connect_timeout=5 * PATIENCE,
                                      inbox_prefix=f"_INBOX_{user}".encode(), max_reconnect_attempts=-1,
                                      reconnect_time_wait=0.1)
        self.nc = self.wait(connect())
        self.js = self.nc.jetstream(timeout=5 * PATIENCE)

    def wait(self, coroutine, timeout=10):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout * PATIENCE)

    def publish(self, subject, payload=b"", headers=None, stream=None):
        """JetStream publish; returns the PubAck."""
        return self.wait(self.js.publish(subject, payload, headers=headers, stream=stream))

    def send(self, subject, payload=b"", reply="", headers=None):
        """Core publish, flushed."""
        async def go():
            await self.nc.publish(subject, payload, reply=reply, headers=headers)
            await self.nc.flush(5)
        self.wait(go())

    def request(self, subject, payload=b"", timeout=5 * PATIENCE, headers=None):
        """Core request; the reply message, whatever it says."""
        return self.wait(self.nc.request(subject, payload, timeout=timeout, headers=headers), timeout + 5)

    def subscribe(self, subject, queue=""):
        """Core subscription; `take(subscription)` reads from it."""
        async def go():
            sub = await self.nc.subscribe(subject, queue=queue)
            await self.nc.flush(5)
            return sub
        return self.wait(go())

    def take(self, subscription, timeout=5 * PATIENCE):
        return self.wait(subscription.next_msg(timeout), timeout + 5)

    def add_stream(self, name, subjects, **options):
        return self.wait(self.js.add_stream(StreamConfig(name=name, subjects=list(subjects), **options)))

    def add_consumer(self, stream, durable, **options):
        return self.wait(self.js.add_consumer(stream, ConsumerConfig(durable_name=durable, **options)))

    def stream(self, name):
        return self.wait(self.js.stream_info(name))

    def consumer(self, stream, durable):
        return self.wait(self.js.consumer_info(stream, durable))

    def last(self, stream, subject):
        """The stream sequence of the subject's last message, 0 when there is none."""
        async def go():
            try:
                return (await self.js.get_last_msg(stream, subject)).seq
            except nats.js.errors.NotFoundError:
                return 0
        return self.wait(go())

    def settled(self, stream, *durables):
        """Whether each consumer has settled all that its subject holds. What is pending is not enough to tell:
        the server counts a stored message there a moment after it has acknowledged it."""
        for durable in durables:
            info = self.consumer(stream, durable)
            if info.num_pending or info.num_ack_pending \
                    or info.delivered.stream_seq < self.last(stream, info.config.filter_subject):
                return False
        return True

    def hasten(self, stream, ack_wait, max_deliver=200):
        """Shorter ack waits for all consumers of a stream, and deliveries enough for what a test then does."""
        async def go():
            for info in await self.js.consumers_info(stream):
                info.config.ack_wait, info.config.max_deliver = ack_wait, max_deliver
                await self.js.add_consumer(stream, info.config)
        self.wait(go(), 20)

    def message(self, stream, sequence):
        return self.wait(self.js.get_msg(stream, sequence))

    def messages(self, stream):
        """Every stored message of a stream, oldest first; for small streams."""
        state = self.stream(stream).state
        found = []
        for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
            try:
                found.append(self.message(stream, sequence))
            except nats.js.errors.NotFoundError:
                continue
        return found

    def read(self, stream, timeout=60):
        """[(sequence, subject, headers, payload)] of everything a stream holds."""
        return list(self.each(stream, timeout))

    def each(self, stream, timeout=60, at_once=10_000):
        """The same one by one, by a push consumer of our own, at a pace that lets few pile up here."""
        state = self.stream(stream).state
        if not state.messages:
            return

        async def begin():
            inbox = self.nc.new_inbox()
            sub = await self.nc.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
            info = await self.js.add_consumer(stream, ConsumerConfig(
                deliver_subject=inbox, ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True,
                rate_limit_bps=READ_BITS))
            return sub, info.name

        async def some():
            found = []
            while len(found) < at_once and (not found or found[-1][0] < state.last_seq):
                m = await sub.next_msg(timeout)
                found.append((m.metadata.sequence.stream, m.subject, dict(m.headers or {}), m.data))
            return found

        async def end():
            await sub.unsubscribe()
            await self.js.delete_consumer(stream, name)
        sub, name = self.wait(begin())
        sequence = 0
        while sequence < state.last_seq:
            for message in self.wait(some(), 3600):  # each message has its own limit; so many may be slow to come
                yield message
            sequence = message[0]
        self.wait(end())

    def events(self):
        """[(subject, payload, headers)] of what ANIME_EVENTS holds: input of the oracle."""
        return [(subject, payload, headers) for _, subject, headers, payload in self.read("ANIME_EVENTS")]

    def purge(self, stream):
        return self.wait(self.js.purge_stream(stream))

    def delete_streams(self):
        async def go():
            for info in await self.js.streams_info():
                await self.js.delete_stream(info.config.name)
        self.wait(go(), 30)

    def close(self):
        try:
            self.wait(self.nc.close(), 5)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(5)
