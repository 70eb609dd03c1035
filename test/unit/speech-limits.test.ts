/** Places of answers that stream, and what is left of a recording whose client has gone. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import type { FastifyReply } from 'fastify';
import { speechReader } from '#api/aliyun-listen.ts';
import type { AliyunSpeech } from '#api/aliyun-speech-port.ts';
import { EventStreams } from '#api/event-streams.ts';
import { SimulatedClock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import { settle } from './_fakes.ts';

function reply(): { readonly reply: FastifyReply; readonly end: () => void } {
  const raw = new EventEmitter();
  return { reply: { raw } as unknown as FastifyReply, end: () => void raw.emit('close') };
}

test('one account leaves places to the others, and gets its own back', () => {
  const streams = new EventStreams({ clock: new SimulatedClock(), max: 3, maxOfOne: 2 });
  const [one, two, three, four] = [reply(), reply(), reply(), reply()];
  streams.enter(one.reply, 'a');
  streams.enter(two.reply, 'a');
  assert.throws(() => streams.enter(three.reply, 'a'), { problem: 'OVERLOADED' });
  streams.enter(three.reply, 'b');
  assert.throws(() => streams.enter(four.reply, 'b'), { problem: 'OVERLOADED' }, 'no place at all');
  one.end();
  const { signal } = streams.enter(four.reply, 'a');
  assert.equal(signal.aborted, false);
  four.end();
  assert.equal(signal.aborted, true);
});

test('a client that leaves while the last sentence is read takes the session with it', async () => {
  const left = new AbortController();
  let closed = 0;
  const aliyunSpeech: Pick<AliyunSpeech, 'listen'> = {
    listen: async () => ({
      send: () => true,
      stop: () => new Promise<void>(() => undefined),
      close: () => void closed++,
    }),
  };
  const clock = new SimulatedClock();
  const read = speechReader({ aliyunSpeech: aliyunSpeech as AliyunSpeech, clock });
  const speech = { pcm: new Int16Array(800), sampleRate: 8000, durationMs: 100 };
  const work = read({ accountId: 'a' as Id, speech, hasPunctuation: true }, left.signal);
  await settle();
  assert.equal(closed, 0);
  left.abort();
  await assert.rejects(work, { code: 'E_ABORTED' });
  assert.equal(closed, 1);
  assert.equal(clock.pending, 0);
});
