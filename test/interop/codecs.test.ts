/** Calls of real phones in other codecs than G.711, and encrypted: each asks, is answered, and hears us. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBaresip, type BaresipOptions } from './tools/baresip.ts';
import { startCapture } from './tools/capture.ts';
import { compareAudio } from './tools/correlate.ts';
import { startLinphone } from './tools/linphone.ts';
import { rtpStreams, type RtpStreamReport } from './tools/rtp-report.ts';
import { ANSWER, CALL_MS, callerAudio, GREETING, QUESTION, SCRIPT } from './tools/script.ts';
import { startServer, type CallRecord, type Callyard } from './tools/server.ts';
import { readWav } from './tools/wav.ts';

const NODE = '127.0.0.21';
let folder = '';
let server: Callyard;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-codecs-'));
  const env = { CALLYARD_SRTP: 'preferred' };
  server = await startServer({ folder, address: NODE, script: SCRIPT, env });
});
after(async () => {
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

type Seen = {
  readonly record: CallRecord;
  readonly streams: readonly RtpStreamReport[];
  /** Recorded: caller, agent. */
  readonly caller: Int16Array;
  readonly agent: Int16Array;
};

/** The scripted conversation, with every word understood; what was on the wire and in the recording. */
async function converse(name: string, place: () => Promise<void>): Promise<Seen> {
  const known = await server.recordIds();
  await using capture = await startCapture(join(folder, `${name}.pcap`), `udp and host ${NODE}`);
  await place();
  const record = await server.finishedRecord(known);
  const streams = rtpStreams(await capture.finish(), 50);
  const said = record.messages.map(({ role, content }) => [role, content]);
  assert.deepEqual(said, [
    ['assistant', GREETING],
    ['user', QUESTION],
    ['assistant', ANSWER],
  ]);
  assert.equal(record.outcome, 'completed');
  assert.equal(streams.length, 2);
  const { channels } = readWav(await server.saveRecording(record.id));
  const [caller = new Int16Array(0), agent = new Int16Array(0)] = channels;
  return { record, streams, caller, agent };
}

async function baresipCall(
  options: Pick<BaresipOptions, 'name' | 'codecs' | 'srtp' | 'rateHz' | 'lines'>,
): Promise<Seen & { readonly heard: Int16Array }> {
  await using phone = await startBaresip({
    ...{ folder, address: '127.0.0.31', speech: callerAudio() },
    ...options,
  });
  const seen = await converse(options.name, async () => {
    await phone.command(`dial sip:8001@${NODE}`);
    await phone.waitFor('CALL_ESTABLISHED', 15_000);
    await sleep(CALL_MS);
    await phone.command('hangup');
    await phone.waitFor('CALL_CLOSED', 15_000);
  });
  return { ...seen, heard: phone.heard() };
}

/** Sound survives the codec both ways: alike, whole, without slips. */
function checkSound(seen: Seen & { readonly heard: Int16Array }, least: number): void {
  const said = compareAudio(callerAudio(), seen.caller);
  assert.ok(said.correlation >= least, `caller: ${JSON.stringify(said)}`);
  const heard = compareAudio(seen.agent, seen.heard);
  assert.ok(heard.correlation >= least, `agent: ${JSON.stringify(heard)}`);
  assert.ok(said.longestGapMs <= 20 && heard.longestGapMs <= 20, JSON.stringify({ said, heard }));
}

function payloadTypes(seen: Seen): number[][] {
  return seen.streams.map(({ packets }) => [...new Set(packets.map((one) => one.payloadType))]);
}

test('Opus with baresip', async () => {
  const seen = await baresipCall({ name: 'opus', codecs: 'opus/48000/2', rateHz: 48_000 });
  for (const types of payloadTypes(seen))
    assert.ok(
      types.every((type) => type >= 96),
      String(types),
    );
  checkSound(seen, 0.85);
});

test('Opus with baresip, which wants nothing sent in pauses, and redundancy', async () => {
  const seen = await baresipCall({
    ...{ name: 'dtx', codecs: 'opus/48000/2', rateHz: 48_000 },
    lines: ['opus_application voip', 'opus_dtx yes', 'opus_inbandfec yes', 'opus_packet_loss 10'],
  });
  const [theirs, ours] = [
    seen.streams[0]?.packets.length ?? 0,
    seen.streams.at(-1)?.packets.length ?? 0,
  ];
  assert.ok(ours < 0.75 * theirs, `${ours} of ${theirs} packets`);
  const said = compareAudio(callerAudio(), seen.caller);
  assert.ok(said.correlation >= 0.85, JSON.stringify(said));
  // It records what it gets, and nothing in between: each part of the greeting is looked for by itself.
  for (const fromMs of [0, 1200]) {
    const part = seen.agent.subarray(fromMs * 8, (fromMs + 1200) * 8);
    const heard = compareAudio(part, seen.heard);
    assert.ok(heard.correlation >= 0.9 && heard.longestGapMs <= 20, JSON.stringify(heard));
  }
});

test('Opus with linphonec', async () => {
  await using phone = await startLinphone({
    ...{ folder, address: '127.0.0.36', speech: callerAudio(), codec: 'opus' },
  });
  const seen = await converse('linphone-opus', async () => {
    await phone.call(`sip:8001@${NODE}`);
    await sleep(CALL_MS);
    await phone.hangUp();
  });
  for (const types of payloadTypes(seen)) assert.ok(types.every((type) => type >= 96));
  const said = compareAudio(callerAudio(), seen.caller);
  assert.ok(said.correlation >= 0.85, JSON.stringify(said));
  // Its sound card is a file, whose clock slips against ours now and then: part by part.
  const parts = [0, 600, 1200].map((ms) => seen.agent.subarray(ms * 8, (ms + 600) * 8));
  const heard = parts.map((part) => compareAudio(part, phone.heard()));
  assert.ok(
    heard.filter(({ correlation }) => correlation >= 0.8).length >= 2,
    JSON.stringify(heard),
  );
  assert.ok(
    heard.every(({ longestGapMs }) => longestGapMs <= 20),
    JSON.stringify(heard),
  );
});

test('G.722 with baresip', async () => {
  const seen = await baresipCall({ name: 'g722', codecs: 'G722/16000/1', rateHz: 16_000 });
  assert.deepEqual(payloadTypes(seen), [[9], [9]]);
  checkSound(seen, 0.95);
});

test('G.722 with linphonec', async () => {
  await using phone = await startLinphone({
    ...{ folder, address: '127.0.0.35', speech: callerAudio(), codec: 'G722' },
  });
  const seen = await converse('linphone', async () => {
    await phone.call(`sip:8001@${NODE}`);
    await sleep(CALL_MS);
    await phone.hangUp();
  });
  assert.deepEqual(payloadTypes(seen), [[9], [9]]);
});

test('SRTP by SDES with baresip', async () => {
  const seen = await baresipCall({ name: 'srtp', srtp: true });
  checkSound(seen, 0.95);
  // What went over the wire is no sound: as G.711 it would be noise at full level.
  const [bytes] = seen.streams.map(({ packets }) => packets.map(({ payload }) => payload.length));
  assert.ok(
    bytes?.every((length) => length === 160 + 10),
    'a tag of 10 bytes behind each',
  );
});
