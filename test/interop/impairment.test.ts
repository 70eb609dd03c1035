/**
 * Calls of baresip through bad networks, from seeds: what our side heard is intelligible by number, holes are filled and
 * long ones fade, and the quality on the record is the E-model's for what the network did.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeG711 } from '#src/demo/g711.ts';
import { startBaresip } from './tools/baresip.ts';
import { bestLag } from './tools/correlate.ts';
import { openImpairedPath, type Impairment, type PassedPacket } from './tools/impaired-path.ts';
import { startServer, type CallRecord, type Callyard } from './tools/server.ts';
import { lostDistances } from './tools/spectral.ts';
import { concatPcm, readChannel, readWav, silence } from './tools/wav.ts';

const NODE = '127.0.0.21';
const TALK_MS = 27_000;
const TEXT =
  'The weather in the mountains changes quickly, so please take a warm coat and a good map with you. ' +
  'Our office is open from Monday to Friday between nine in the morning and half past five. ' +
  'If you would like to move your appointment, tell me which day suits you, and I will look for a free hour. ' +
  'The order was sent yesterday and should be with you before the end of the week. ' +
  'You can also write to us, and somebody will answer you within one working day.';

type Case = { readonly name: string; readonly impairment: Impairment };

const CASES: readonly Case[] = [
  { name: 'loss 1 %', impairment: { seed: 11, lossPct: 1 } },
  { name: 'loss 2 %', impairment: { seed: 12, lossPct: 2 } },
  { name: 'loss 5 %', impairment: { seed: 13, lossPct: 5 } },
  { name: 'bursts of 5', impairment: { seed: 14, lossPct: 5, burst: 5 } },
  { name: 'jitter 40 ms', impairment: { seed: 15, delayMs: 60, jitterMs: 40, lossPct: 2 } },
  { name: 'jitter 80 ms', impairment: { seed: 16, delayMs: 100, jitterMs: 80, lossPct: 2 } },
  {
    name: 'reordered and doubled',
    impairment: { seed: 17, delayMs: 40, lossPct: 2, reorderPct: 3, duplicatePct: 3 },
  },
];
/** The jitter buffer has found its place by then. */
const SETTLED = 3 * 8000;

/**
 * G.711 with concealment (G.107, G.113) for what the network really did. One way: its delay, a buffer for its jitter, a
 * packet and a tick.
 */
function eModelMos(packets: readonly PassedPacket[], impairment: Impairment): number {
  const { delayMs = 0, jitterMs = 0 } = impairment;
  const oneWayMs = delayMs + jitterMs + 30;
  const lost = packets.filter((packet) => packet.isLost).length;
  const bursts = packets.filter((packet, at) => packet.isLost && packets[at - 1]?.isLost !== true);
  const lossPct = (100 * lost) / packets.length;
  // Mean length of the bursts over what it would be if loss were random.
  const burstR = (lost / Math.max(1, bursts.length)) * (1 - lossPct / 100);
  const byLoss = (95 * lossPct) / (lossPct / Math.max(1, burstR) + 25.1);
  const byDelay = 0.024 * oneWayMs + 0.11 * Math.max(0, oneWayMs - 177.3);
  const r = 93.2 - byDelay - byLoss;
  return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6;
}

let folder = '';
let server: Callyard;
let words: Int16Array = new Int16Array(0);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-impairment-'));
  const [raw, plain] = [join(folder, 'raw.wav'), join(folder, 'words.wav')];
  execFileSync('espeak-ng', ['-v', 'en', '-s', '150', '-w', raw, TEXT]);
  execFileSync('sox', [raw, '-r', '8000', '-c', '1', '-b', '16', plain, 'gain', '-n', '-6']);
  words = readChannel(plain).subarray(0, TALK_MS * 8);
  server = await startServer({
    folder,
    address: NODE,
    script: { greeting: '', utterances: {}, replies: [] },
  });
});
after(async () => {
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

type Heard = {
  readonly record: CallRecord & { readonly quality: { readonly mos: number } | null };
  /** What the phone sent, and the same with silence for what the network lost. */
  readonly said: Int16Array;
  readonly zeroFilled: Int16Array;
  readonly isLost: (packet: number) => boolean;
  readonly mos: number;
  /** What our side heard of it, as recorded. */
  readonly heard: Int16Array;
};

async function callThrough({ impairment }: Case, place: number): Promise<Heard> {
  const name = `phone${place}`;
  const address = `127.0.0.${60 + place}`;
  using path = await openImpairedPath({ address, node: NODE, impairment });
  await using phone = await startBaresip({
    ...{ folder, name, address: `127.0.0.${40 + place}` },
    speech: concatPcm(silence(300), words),
  });
  await phone.command(`dial sip:8001@${address}`);
  await phone.waitFor('CALL_ESTABLISHED', 15_000);
  await sleep(TALK_MS + 1000);
  await phone.command('hangup');
  await phone.waitFor('CALL_CLOSED', 15_000);
  const record = await recordOf(name);
  const { channels } = readWav(await server.saveRecording(record.id));
  const mos = eModelMos(path.fromPhone, impairment);
  return { record, ...sentBy(path.fromPhone), mos, heard: channels[0] ?? new Int16Array(0) };
}

async function recordOf(name: string): Promise<Heard['record']> {
  for (let tries = 0; tries < 100; tries++) {
    for (const id of await server.recordIds()) {
      const record = (await server.record(id)) as Heard['record'] & { caller_phone: string | null };
      if (record.caller_phone === name && record.recording_status === 'ready') return record;
    }
    await sleep(100);
  }
  throw new Error(`no finished record of ${name}`);
}

function sentBy(packets: readonly PassedPacket[]): Pick<Heard, 'said' | 'zeroFilled' | 'isLost'> {
  const first = packets[0]?.timestamp ?? 0;
  const offsets = packets.map(({ timestamp }) => (timestamp - first) | 0);
  const length = Math.max(...offsets) + 160;
  const [said, zeroFilled] = [new Int16Array(length), new Int16Array(length)];
  const lost = new Set<number>();
  for (const [at, packet] of packets.entries()) {
    const pcm = decodeG711(packet.payloadType === 8 ? 'PCMA' : 'PCMU', packet.payload);
    said.set(pcm, offsets[at]);
    if (packet.isLost) lost.add((offsets[at] ?? 0) / 160);
    else zeroFilled.set(pcm, offsets[at]);
  }
  return { said, zeroFilled, isLost: (place) => lost.has(place) };
}

/** The longest run of 10 ms frames with hardly any sound where the caller spoke. */
function longestHoleMs({ said, heard }: Heard): number {
  const lag = bestLag(said, heard);
  let [run, longest] = [0, 0];
  for (let at = SETTLED; at + 80 <= said.length - 8000; at += 80) {
    const isHole = rms(said, at) > 800 && rms(heard, at + lag) < 20;
    run = isHole ? run + 10 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

function rms(pcm: Int16Array, at: number): number {
  let sum = 0;
  for (let i = at; i < at + 80; i++) sum += (pcm[i] ?? 0) ** 2;
  return Math.sqrt(sum / 80);
}

test('each network: intelligible, concealed, and judged as the E-model judges it', async () => {
  const calls = await Promise.all(CASES.map(callThrough));
  const sums = { frames: 0, ours: 0, zeros: 0 };
  for (const [place, { name, impairment }] of CASES.entries()) {
    const call = calls[place] as Heard;
    const { frames, ours, zeros } = lostDistances({ ...call, from: SETTLED });
    const [ratio, holeMs, quality] = [ours / zeros, longestHoleMs(call), call.record.quality];
    const shown = JSON.stringify({ frames, ours, zeros, ratio, holeMs, quality, mos: call.mos });
    console.log(`# ${name}: ${shown}`);
    assert.ok(Math.abs((quality?.mos ?? 0) - call.mos) <= 0.2, `${name}: MOS ${shown}`);
    // A burst of 100 ms fades: 60 ms are filled, the rest may be silent. Two such may meet.
    assert.ok(holeMs <= (impairment.burst === undefined ? 20 : 60), `${name}: a hole ${shown}`);
    if (impairment.burst !== undefined) assert.ok(ratio <= 0.8, `${name}: ${shown}`);
    else {
      sums.frames += frames;
      sums.ours += ours * frames;
      sums.zeros += zeros * frames;
    }
  }
  // A call of half a minute has a dozen such packets in a voice, too few for a figure of its own: together they count.
  const ratio = sums.ours / sums.zeros;
  console.log(`# log-spectral distance over that of silence, ${sums.frames} packets: ${ratio}`);
  assert.ok(sums.frames >= 60 && ratio <= 0.7, `${ratio} of zero-fill`);
});
