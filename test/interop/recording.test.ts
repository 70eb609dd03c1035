/** One long call of baresip, recorded and captured: at its end the recording is where the wire was, and has no holes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { startBaresip } from './tools/baresip.ts';
import { callFacts } from './tools/call-facts.ts';
import { startCapture } from './tools/capture.ts';
import { compareAudio } from './tools/correlate.ts';
import { decodeStream, rtpStreams, type RtpStreamReport } from './tools/rtp-report.ts';
import { GREETING_MS, phrase, SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { concatPcm, readWav, silence } from './tools/wav.ts';

/** How long the call lasts. */
const CALL_S = 300;
const SHORT_CALL_S = 20;
/** Addresses of this file alone, so that it can run beside others. */
const NODE = '127.0.0.26';
const OGG_NODE = '127.0.0.27';
const CALLER = '127.0.0.36';
const OGG_CALLER = '127.0.0.37';
const NEAR_MS = 20;
/** What is later than this may be a hole: who waits for it longer talks past the other. */
const MAX_WAIT_MS = 60;
/** The call is looked at in parts: one has a question and its answer. */
const PART_MS = 10_000;

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-recording-'));
});
after(
  () =>
    process.env['CALLYARD_KEEP'] === undefined && rmSync(folder, { recursive: true, force: true }),
);

/** The caller asks the same question over and over, and is answered. */
function questions(seconds: number): Int16Array {
  const question = concatPcm(encodeUtteranceId(7), phrase, silence(4000));
  const turns = Math.ceil((seconds * 8000) / question.length) + 1;
  return concatPcm(silence(GREETING_MS + 800), ...Array.from({ length: turns }, () => question));
}

async function recordedCall(server: Callyard, address: string, seconds: number) {
  const name = `caller-${seconds}`;
  const speech = questions(seconds);
  // baresip sends from another loopback address than the one it names.
  await using capture = await startCapture(join(folder, `${name}.pcap`), `host ${server.address}`);
  await using baresip = await startBaresip({ folder, name, address, speech });
  await baresip.command(`dial sip:8001@${server.address}:5060`);
  await baresip.waitFor('CALL_ESTABLISHED', 10_000);
  await sleep(seconds * 1000);
  await baresip.command('hangup');
  const record = await server.finishedRecord([], 20_000);
  assert.equal(record.recording_status, 'ready');
  const datagrams = await capture.finish();
  const { ackMs, byeMs } = callFacts(datagrams, server.address);
  const streams = rtpStreams(datagrams);
  const ours = ({ source }: RtpStreamReport): boolean => source.startsWith(`${server.address}:`);
  const sides = [streams.filter((each) => !ours(each)), streams.filter(ours)].map(longestOf);
  return { sides, wireMs: byeMs - ackMs, path: await server.saveRecording(record.id) };
}

/** The longest of these streams, with what was sent of it to another address before that one was known. */
function longestOf(streams: readonly RtpStreamReport[]): RtpStreamReport {
  const [longest] = streams.toSorted((a, b) => b.packets.length - a.packets.length);
  assert.ok(longest !== undefined, 'one-way, or no audio');
  const parts = streams.filter(({ ssrc }) => ssrc === longest.ssrc);
  const packets = parts.flatMap((part) => part.packets).sort((a, b) => a.atMs - b.atMs);
  return { ...longest, packets, firstMs: packets[0]?.atMs ?? 0 };
}

/**
 * How far what was sent (of a part) was behind its time stamp, ms: at least (the sender's clock against the kernel's), and
 * by how much more at most: so long did the sender stand still.
 */
function lagOf({ packets, firstMs }: RtpStreamReport, from: number, to: number) {
  const start = packets[0]?.timestamp ?? 0;
  let leastMs = Number.POSITIVE_INFINITY;
  let mostMs = Number.NEGATIVE_INFINITY;
  for (const { atMs, timestamp } of packets) {
    const sentMs = ((timestamp - start) | 0) / 8;
    if (sentMs < from || sentMs >= to) continue;
    leastMs = Math.min(leastMs, atMs - firstMs - sentMs);
    mostMs = Math.max(mostMs, atMs - firstMs - sentMs);
  }
  return { driftMs: leastMs, stallMs: mostMs - leastMs };
}

type Part = {
  readonly atMs: number;
  readonly zeroMs: number;
  readonly gapMs: number;
  readonly stallMs: number;
};

/**
 * One side in parts: when on the wire (unix ms) the file began, as each part says, and its longest hole. Each part is
 * looked for by itself: a buffer that followed the sender's clock has moved a later one.
 */
function partsOf(stream: RtpStreamReport, file: Int16Array): Part[] {
  const sent = decodeStream(stream);
  const parts: Part[] = [];
  for (let atMs = 0; (atMs + PART_MS) * 8 <= sent.length; atMs += PART_MS) {
    const part = sent.subarray(atMs * 8, (atMs + PART_MS) * 8);
    const aroundMs = Math.max(0, atMs - 500);
    const found = compareAudio(part, file.subarray(aroundMs * 8, (atMs + PART_MS + 1500) * 8));
    assert.ok(found.correlation > 0.6, `at ${atMs} ms: ${JSON.stringify(found)}`);
    const fileMs = aroundMs + found.delayMs;
    const { driftMs, stallMs } = lagOf(stream, atMs, atMs + PART_MS);
    const wireMs = stream.firstMs + atMs + driftMs;
    parts.push({ atMs, zeroMs: wireMs - fileMs, gapMs: found.longestGapMs, stallMs });
  }
  return parts;
}

test(`a call of ${CALL_S} s is recorded at wire time to its end, without holes`, async () => {
  await using server = await startServer({ folder, address: NODE, script: SCRIPT });
  const { sides, wireMs, path } = await recordedCall(server, CALLER, CALL_S);
  const { channels } = readWav(path);
  const ends: number[] = [];
  for (const [at, stream] of sides.entries()) {
    const parts = partsOf(stream, channels[at] ?? new Int16Array(0));
    const zeros = parts.map(({ zeroMs }) => zeroMs).sort((a, b) => a - b);
    const middle = zeros[zeros.length >> 1] ?? Number.NaN;
    const last = parts.at(-1)?.zeroMs ?? Number.NaN;
    const gapMs = Math.max(...parts.map((part) => part.gapMs));
    const offMs = Math.max(...zeros.map((zero) => Math.abs(zero - middle)));
    const stalls = parts.filter(({ stallMs }) => stallMs > MAX_WAIT_MS);
    console.log(
      `# side ${at}: at most ${offMs.toFixed(2)} ms off in ${CALL_S} s; longest hole ${gapMs} ms, parts with stalls ${stalls.length} of ${parts.length}, lost ${stream.missing}`,
    );
    for (const part of parts) {
      const shown = `side ${at}: ${JSON.stringify(part)} of ${JSON.stringify(parts)}`;
      // A sender that stood still for longer than anybody waits has made the hole himself, there and nowhere else.
      const madeMs = part.stallMs > MAX_WAIT_MS ? part.stallMs : 0;
      assert.ok(part.gapMs <= NEAR_MS + madeMs, shown);
      assert.ok(Math.abs(part.zeroMs - middle) <= NEAR_MS, shown);
    }
    assert.ok(stalls.length <= parts.length / 2, `side ${at}: too busy a machine to tell anything`);
    ends.push(last);
  }
  const apart = (ends[0] ?? 0) - (ends[1] ?? 0);
  console.log(`# the sides are ${apart.toFixed(2)} ms apart at the end`);
  assert.ok(Math.abs(apart) <= NEAR_MS, `the sides are ${apart} ms apart at the end`);
  const fileMs = (channels[0]?.length ?? 0) / 8;
  assert.ok(Math.abs(fileMs - wireMs) <= 250, `${fileMs} ms in the file, ${wireMs} on the wire`);
});

test('in Ogg/Opus: what other people’s tools make of it', async () => {
  const env = { CALLYARD_RECORDING_FORMAT: 'ogg' };
  await using server = await startServer({
    ...{ folder, name: 'ogg', address: OGG_NODE, script: SCRIPT, env },
  });
  const { sides, path } = await recordedCall(server, OGG_CALLER, SHORT_CALL_S);
  const told = execFileSync('opusinfo', [path], { encoding: 'utf8' });
  assert.doesNotMatch(told, /warning|error/i);
  assert.match(told, /Channels: 2[\s\S]*Streams: 2, Coupled: 0/);
  assert.match(told, /Encoded with callyard/);
  const kbit = Number(/Average bitrate: ([\d.]+) kbit/.exec(told)?.[1]);
  assert.ok(kbit > 4 && kbit < 34, `${kbit} kbit/s`);
  const raw = join(folder, 'decoded.raw');
  execFileSync('ffmpeg', [
    ...['-loglevel', 'error', '-y', '-i', path],
    ...['-f', 's16le', '-ac', '2', '-ar', '8000', raw],
  ]);
  const bytes = readFileSync(raw);
  const count = Math.floor(bytes.length / 4);
  for (const [at, stream] of sides.entries()) {
    const file = Int16Array.from({ length: count }, (_, i) => bytes.readInt16LE(i * 4 + at * 2));
    const found = compareAudio(decodeStream(stream), file);
    assert.ok(found.correlation >= 0.9, `side ${at}: ${JSON.stringify(found)}`);
    assert.ok(found.longestGapMs <= 40, `side ${at}: ${JSON.stringify(found)}`);
  }
});
