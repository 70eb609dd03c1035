/** The speech sockets of contract 2.2 in time: 60 s without a frame, a vendor that is kept company, a client that leaves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AliyunSpeech, ListeningOptions } from '#api/aliyun-speech-port.ts';
import type { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { startSocketServer } from './_socket-server.ts';
import { openSocket, type Client } from './_ws-client.ts';

type FakeSpeech = AliyunSpeech & {
  /** Bytes that the vendor was sent, each. */
  readonly sent: Uint8Array[];
  heard: ListeningOptions | null;
  closed: number;
  readonly texts: string[];
};

function fakeSpeech(): FakeSpeech {
  const fake: FakeSpeech = {
    ...{ sent: [], texts: [], heard: null, closed: 0 },
    hasAccount: async () => true,
    joined: (sentences) => sentences.join(' '),
    async listen(_accountId, options) {
      fake.heard = options;
      return {
        send: (bytes) => fake.sent.push(bytes) > 0,
        stop: async () => undefined,
        close: () => void fake.closed++,
      };
    },
    async *speak(_accountId, { texts }, signal) {
      for await (const text of texts) {
        if (signal.aborted) throw new AppError('E_ABORTED', 'given up');
        fake.texts.push(text);
        yield new Uint8Array(text.length * 2);
      }
    },
  };
  return fake;
}

/** In steps, so that the client's library can answer probes between them. */
async function pass(clock: SimulatedClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 2_500) {
    clock.advance(Math.min(2_500, left));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const isOpen = ({ socket }: Client): boolean => socket.readyState === socket.OPEN;

test('60 s without a frame close the recogniser’s socket; until then the vendor is sent silence', async (t) => {
  const { fakes, clock, url, auth } = await startSocketServer(t);
  const speech = fakeSpeech();
  fakes.vendors.aliyunSpeech = speech;
  const client = await openSocket(t, `${url}/api/v1/aliyun/asr/stream`, auth);
  client.send({ type: 'start', sample_rate: 8000 });
  await client.frame('ready');
  await pass(clock, 50_000);
  assert.ok(isOpen(client));
  assert.ok(speech.sent.length >= 11, `${speech.sent.length} times silence`);
  assert.ok(
    speech.sent.every((bytes) => bytes.length === 1_600 && bytes.every((byte) => byte === 0)),
  );
  client.send(Buffer.alloc(320, 1));
  await new Promise((resolve) => setTimeout(resolve, 20));
  speech.heard?.onFinal({ index: 1, text: 'Yes.', beginMs: 1_300, endMs: 1_320, confidence: null });
  const final = await client.frame('final');
  assert.deepEqual(
    [final['begin_ms'], final['confidence']],
    [Math.max(0, 1_300 - (speech.sent.length - 1) * 100), null],
  );
  await pass(clock, 57_500);
  assert.ok(isOpen(client));
  await pass(clock, 5_000);
  assert.equal((await client.closed).code, 4408);
  assert.equal(speech.closed, 1);
});

test('60 s without a frame close the voice’s socket, not while it speaks', async (t) => {
  const { fakes, clock, url, auth } = await startSocketServer(t);
  const speech = fakeSpeech();
  fakes.vendors.aliyunSpeech = speech;
  const client = await openSocket(t, `${url}/api/v1/aliyun/tts/stream`, auth);
  client.send({ type: 'start' });
  await client.frame('ready');
  await pass(clock, 57_500);
  client.send({ type: 'text', text: 'Hello.' });
  assert.equal((await client.heard(12)).length, 12);
  await pass(clock, 57_500);
  assert.ok(isOpen(client));
  await pass(clock, 5_000);
  assert.equal((await client.closed).code, 4408);
  assert.deepEqual(speech.texts, ['Hello.']);
});

test('text faster than it is said is refused by name, not lost without a word', async (t) => {
  const { fakes, url, auth } = await startSocketServer(t);
  const speech = fakeSpeech();
  const { promise, resolve } = Promise.withResolvers<void>();
  fakes.vendors.aliyunSpeech = {
    ...speech,
    async *speak(accountId, options, signal) {
      await promise;
      yield* speech.speak(accountId, options, signal);
    },
  };
  const client = await openSocket(t, `${url}/api/v1/aliyun/tts/stream`, auth);
  client.send({ type: 'start' });
  for (let n = 0; n < 11; n++) client.send({ type: 'text', text: 'x'.repeat(2_000) });
  assert.equal((await client.frame('error'))['code'], 'OVERLOADED');
  resolve();
  client.send({ type: 'stop' });
  await client.frame('done');
  assert.equal(Buffer.concat(client.audio).length, 10 * 4_000);
});
