/** The server's own account of each turn against a capture that shares nothing with it: total, parts, fillers. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Latency } from '#lib/call-events.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { trimSilence } from '#src/demo/voice-meter.ts';
import { startCapture } from './tools/capture.ts';
import { callFacts } from './tools/call-facts.ts';
import { speechTimes } from './tools/rtp-report.ts';
import { phrase } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { concatPcm } from './tools/wav.ts';

const NODE = '127.0.0.28';
const TURNS = 3;
const DELAYS = { sttMs: 150, llmMs: 200, ttsMs: 80 };
const FRAME_MS = 20;
/** Of one turn on the wire: a pause in speech is shorter. */
const TURN_GAP_MS = 1000;

let folder = '';
let server: Callyard;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-waterfall-'));
  const utterances = Object.fromEntries(
    Array.from({ length: TURNS }, (_, id) => [String(id + 1), `Please note number ${id + 1}.`]),
  );
  const script = {
    greeting: 'Hello.',
    utterances,
    defaultReply: 'Very well, noted.',
    delays: DELAYS,
  };
  server = await startServer({ folder, address: NODE, script });
});
after(async () => {
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

/** Stretches of sound on the wire, `gapMs` apart. */
function stretches(times: readonly number[]): { firstMs: number; lastMs: number }[] {
  const found: { firstMs: number; lastMs: number }[] = [];
  for (const at of times) {
    const last = found.at(-1);
    if (last !== undefined && at - last.lastMs < TURN_GAP_MS) last.lastMs = at;
    else found.push({ firstMs: at, lastMs: at });
  }
  return found;
}

test('each turn took what a capture says it took, and its stages add up to it', async () => {
  const known = await server.recordIds();
  await using capture = await startCapture(join(folder, 'turns.pcap'), `udp and host ${NODE}`);
  const call = await placeCall({ target: `sip:8001@${NODE}`, codecs: ['PCMU'] });
  try {
    await call.hearSilence(5000, 600);
    for (let id = 1; id <= TURNS; id++) {
      // A different place in the frame each time, and words of another length.
      await sleep(450 + 7 * id);
      const words = concatPcm(encodeUtteranceId(id), phrase.subarray(0, (220 + 70 * id) * 8));
      const { lastMs } = await call.say(trimSilence(words, 160));
      await call.hearSpeech(lastMs, 5000);
      await call.hearSilence(5000, 600);
    }
  } finally {
    await call.hangUp();
  }
  const record = await server.finishedRecord(known);
  const facts = callFacts(await capture.finish(), NODE);
  const asked = stretches(speechTimes(facts.fromCaller));
  const said = speechTimes(facts.fromAgent);
  const onWire = asked.map(({ lastMs }) => (said.find((at) => at > lastMs) ?? Number.NaN) - lastMs);
  const own = record.messages.flatMap(({ latency_ms: ms }) => (ms === undefined ? [] : [ms]));
  console.log(
    `# on the wire ${onWire.map(Math.round).join(', ')}; in the record ${own.join(', ')}`,
  );
  assert.deepEqual([onWire.length, own.length], [TURNS, TURNS]);
  for (const [turn, ms] of own.entries()) {
    const apartMs = Math.abs(ms - (onWire[turn] ?? Number.NaN));
    assert.ok(apartMs <= FRAME_MS, `turn ${turn + 1}: ${apartMs} ms apart`);
  }
  const { latency } = await server.get<{ latency: Latency }>(`/api/v1/call-records/${record.id}`);
  assert.equal(latency.turns, TURNS);
  assert.equal(latency.mouth_to_ear_ms.max, Math.max(...own));
  const { stt, llm, tts } = latency.parts_ms;
  assert.ok(tts.p50 >= DELAYS.ttsMs - 5 && tts.p50 <= DELAYS.ttsMs + 120, JSON.stringify(tts));
  // Begun ahead: what the model took before the end of the turn costs nobody anything.
  assert.ok(llm.max <= DELAYS.llmMs + 120, JSON.stringify(llm));
  assert.ok(stt.max <= DELAYS.sttMs + 120, JSON.stringify(stt));
  await checkMetrics(own);
});

/** The stages of all turns in /metrics, and what they come to. */
async function checkMetrics(own: readonly number[]): Promise<void> {
  const text = await (await fetch(`${server.apiUrl}/metrics`)).text();
  const lines = [...text.matchAll(/^callyard_turn_stage_seconds_(\w+)\{(.+?)\} (.+)$/gm)];
  const of = (what: string) => lines.filter(([, name]) => name === what);
  const sumMs = of('sum').reduce((sum, [, , , value]) => sum + Number(value) * 1000, 0);
  const wholeMs = own.reduce((sum, ms) => sum + ms, 0);
  assert.ok(Math.abs(sumMs - wholeMs) <= TURNS, `stages ${sumMs}, turns ${wholeMs}`);
  assert.ok(
    of('count').every(([, , , value]) => Number(value) === TURNS),
    text,
  );
  const names = of('count')
    .map(([, , labels = '']) => labels.replaceAll(/\w+=|"/g, ''))
    .sort();
  assert.deepEqual(names, [
    'endpointing,callyard',
    'jitter,callyard',
    'llm,sim',
    'pacing,callyard',
    'stt,sim',
    'tts,sim',
  ]);
}
