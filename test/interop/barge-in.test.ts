/** Barge-in on the wire: how fast the agent falls silent, and whether the transcript is what was really heard. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallEvent } from '#lib/call-events.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { callFacts } from './tools/call-facts.ts';
import { startCapture } from './tools/capture.ts';
import { speechTimes } from './tools/rtp-report.ts';
import { phrase } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { concatPcm } from './tools/wav.ts';

const NODE = '127.0.0.21';
const WORD_MS = 200;
const GREETING =
  'One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty.';
const ANSWER = 'Very well.';

let folder = '';
let server: Callyard;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-barge-'));
  const script = { greeting: GREETING, utterances: { 9: 'Stop please.' }, defaultReply: ANSWER };
  server = await startServer({ folder, address: NODE, script });
});
after(async () => {
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

/** Calls, waits 1.5 s into the greeting, speaks, listens a while, hangs up. */
async function interruptGreeting(name: string, codec: 'PCMU' | 'PCMA', words: Int16Array) {
  const known = await server.recordIds();
  await using capture = await startCapture(join(folder, `${name}.pcap`), `udp and host ${NODE}`);
  const call = await placeCall({ target: `sip:8001@${NODE}`, codecs: [codec] });
  try {
    const startedMs = await call.hearSpeech(0, 3000);
    await sleep(startedMs + 1500 - performance.now());
    await call.say(words);
    await sleep(1800);
  } finally {
    await call.hangUp();
  }
  const record = await server.finishedRecord(known);
  return { record, facts: callFacts(await capture.finish(), NODE) };
}

/** Audio sent of an utterance that starts at `fromMs`, up to the last packet with sound before `gapMs` of silence. */
function heardSpan(times: readonly number[], gapMs: number): { firstMs: number; lastMs: number } {
  const firstMs = times[0] ?? Number.NaN;
  const end = times.findIndex(
    (at, index) => (times[index + 1] ?? Number.POSITIVE_INFINITY) - at > gapMs,
  );
  return { firstMs, lastMs: times[end] ?? Number.NaN };
}

const WORDS = {
  speech: concatPcm(encodeUtteranceId(9), phrase),
  'a modulated tone': modulatedTone(1600),
} as const;

for (const [name, words] of Object.entries(WORDS)) {
  test(`the greeting is interrupted by ${name}`, async () => {
    const { record, facts } = await interruptGreeting(name.replaceAll(' ', '-'), 'PCMU', words);
    const callerFirstMs = speechTimes(facts.fromCaller)[0] ?? Number.NaN;
    // A word is 180 ms of tone and 20 ms of silence: 150 ms without sound is the end.
    const agent = heardSpan(speechTimes(facts.fromAgent), 150);
    const silentAfterMs = agent.lastMs - callerFirstMs;
    console.log(`# silent ${silentAfterMs.toFixed(0)} ms after the first packet of speech`);
    assert.ok(silentAfterMs <= 250, `silent after ${silentAfterMs} ms`);
    assert.ok(agent.lastMs - agent.firstMs >= 1400, `spoke for ${agent.lastMs - agent.firstMs} ms`);

    const [greeting] = record.messages;
    assert.equal(greeting?.role, 'assistant');
    assert.equal(greeting?.interrupted, true, JSON.stringify(record.messages));
    const kept = greeting?.content ?? '';
    assert.ok(kept.length > 0 && GREETING.startsWith(kept.trimEnd()), `"${kept}" is no prefix`);
    assert.ok(kept.length < GREETING.length, 'the whole greeting is in the transcript');

    const heardMs = interruptedAt(record.id);
    // The last packet with sound still plays its own 20 ms.
    const wireMs = agent.lastMs - agent.firstMs + 20;
    const wordsKept = kept.trim().split(/\s+/).length;
    console.log(
      `# heard_ms ${heardMs}, on the wire ${wireMs.toFixed(0)} ms, ${wordsKept} words kept`,
    );
    // The silence that ends each word counts as heard but cannot be seen on the wire.
    const tailMs = heardMs - wireMs;
    assert.ok(tailMs >= -40 && tailMs <= 40, `heard_ms ${heardMs}, captured ${wireMs} ms`);
    assert.ok(Math.abs(wordsKept - heardMs / WORD_MS) <= 1, `${wordsKept} words in ${heardMs} ms`);
  });
}

test('a caller who says nothing hears the whole greeting', async () => {
  const known = await server.recordIds();
  const call = await placeCall({ target: `sip:8001@${NODE}`, codecs: ['PCMA'] });
  await call.hearSpeech(0, 3000);
  await call.hearSilence(8000, 600);
  await call.hangUp();
  const record = await server.finishedRecord(known);
  assert.deepEqual(
    record.messages.map((message) => [message.content, message.interrupted ?? false]),
    [[GREETING, false]],
  );
});

function interruptedAt(callId: string): number {
  const events = server.journaled(callId).filter((event) => event.type === 'user-interrupted');
  assert.equal(events.length, 1, `${events.length} user-interrupted events`);
  return (events[0] as CallEvent<'user-interrupted'>).data.heard_ms;
}

/** Noise-free stand-in for speech: 300 Hz and harmonics, swelling four times a second. */
function modulatedTone(ms: number): Int16Array {
  return Int16Array.from({ length: ms * 8 }, (_, at) => {
    const t = at / 8000;
    const swell = 0.35 + 0.65 * Math.abs(Math.sin(2 * Math.PI * 2 * t));
    const tone = [1, 2, 3, 4, 5, 6].reduce(
      (sum, k) => sum + Math.sin(2 * Math.PI * 180 * k * t) / k,
      0,
    );
    return Math.round(6000 * swell * tone);
  });
}
