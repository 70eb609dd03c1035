/** Answering real clients: SIPp over UDP and TCP, baresip, linphonec. Each is greeted, asks, is answered, hangs up. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeG711 } from '#src/demo/g711.ts';
import { startBaresip } from './tools/baresip.ts';
import { callFacts, type CallFacts } from './tools/call-facts.ts';
import { startCapture } from './tools/capture.ts';
import { compareAudio } from './tools/correlate.ts';
import { startLinphone } from './tools/linphone.ts';
import { decodeStream } from './tools/rtp-report.ts';
import { ANSWER, CALL_MS, callerAudio, GREETING, QUESTION, SCRIPT } from './tools/script.ts';
import { startServer, type Callyard, type CallRecord } from './tools/server.ts';
import { startSippUac } from './tools/sipp.ts';
import { uacXml } from './tools/sipp-scenario.ts';
import { readWav } from './tools/wav.ts';

const NODE = '127.0.0.21';
let folder = '';
let server: Callyard;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-answers-'));
  writeFileSync(join(folder, 'caller.ulaw'), encodeG711('PCMU', callerAudio()));
  writeFileSync(join(folder, 'caller.alaw'), encodeG711('PCMA', callerAudio()));
  server = await startServer({ folder, address: NODE, script: SCRIPT });
});
after(async () => {
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

/** One captured call: `place` makes it and returns when it is over. */
async function observe(
  name: string,
  node: string,
  on: Callyard,
  place: () => Promise<void>,
): Promise<{ facts: CallFacts; record: CallRecord; wav: readonly Int16Array[] }> {
  const known = await on.recordIds();
  await using capture = await startCapture(join(folder, `${name}.pcap`), `host ${node}`);
  await place();
  const record = await on.finishedRecord(known);
  const facts = callFacts(await capture.finish(), node);
  const wav = readWav(await on.saveRecording(record.id));
  assert.equal(wav.sampleRateHz, 8000);
  return { facts, record, wav: wav.channels };
}

function check({
  facts,
  record,
  wav,
}: {
  facts: CallFacts;
  record: CallRecord;
  wav: readonly Int16Array[];
}): void {
  console.log(`# greeted ${facts.greetedAfterMs.toFixed(0)} ms after ACK`);
  assert.ok(facts.greetedAfterMs <= 500, `greeted after ${facts.greetedAfterMs} ms`);
  assert.equal(record.direction, 'inbound');
  assert.deepEqual(
    [record.status, record.outcome, record.hangup_reason, record.ended_by],
    ['ended', 'completed', 'user', 'caller'],
  );
  const wireS = (facts.byeMs - facts.ackMs) / 1000;
  assert.ok(
    Math.abs((record.duration_seconds ?? -9) - wireS) <= 1,
    `${record.duration_seconds} s, on the wire ${wireS} s`,
  );
  const said = record.messages.map(({ role, content }) => [role, content]);
  assert.deepEqual(said, [
    ['assistant', GREETING],
    ['user', QUESTION],
    ['assistant', ANSWER],
  ]);
  assert.equal(record.recording_status, 'ready');
  assert.equal(wav.length, 2);
  for (const [channel, stream] of [facts.fromCaller, facts.fromAgent].entries()) {
    const found = compareAudio(decodeStream(stream), wav[channel] ?? new Int16Array(0));
    const shown = `channel ${channel}: ${JSON.stringify(found)}`;
    assert.ok(found.correlation >= 0.98, shown);
    assert.ok(found.longestGapMs <= 20 && found.lagSpreadMs <= 5, shown);
  }
  const wavS = (wav[0]?.length ?? 0) / 8000;
  assert.ok(Math.abs(wavS - wireS) <= 0.5, `recording ${wavS} s, on the wire ${wireS} s`);
}

function sippCall(
  name: string,
  transport: 'udp' | 'tcp',
  codec: 'PCMU' | 'PCMA',
  target: string,
  from: string,
) {
  return async (): Promise<void> => {
    const file = codec === 'PCMU' ? 'caller.ulaw' : 'caller.alaw';
    const xml = uacXml({ talkMs: CALL_MS, media: { file, codec } });
    const run = { folder, name, xml, address: from, transport, mediaPort: 17000, timeoutS: 30 };
    await using uac = startSippUac(run, { target, service: '8001', calls: 1, ratePerS: 1 });
    const { code } = await uac.result();
    assert.equal(code, 0, uac.log().slice(-800));
  };
}

test('SIPp over UDP, PCMU', async () => {
  check(
    await observe(
      'udp',
      NODE,
      server,
      sippCall('udp', 'udp', 'PCMU', `${NODE}:5060`, '127.0.0.11'),
    ),
  );
});

test('SIPp over TCP, PCMA', async () => {
  check(
    await observe(
      'tcp',
      NODE,
      server,
      sippCall('tcp', 'tcp', 'PCMA', `${NODE}:5060`, '127.0.0.12'),
    ),
  );
});

test('baresip', async () => {
  await using phone = await startBaresip({
    folder,
    name: 'alice',
    address: '127.0.0.31',
    speech: callerAudio(),
  });
  const seen = await observe('baresip', NODE, server, async () => {
    await phone.command(`dial sip:8001@${NODE}`);
    await phone.waitFor('CALL_ESTABLISHED', 5000);
    await sleep(CALL_MS);
    await phone.command('hangup');
    await phone.waitFor('CALL_CLOSED', 5000);
  });
  check(seen);
  const heard = compareAudio(decodeStream(seen.facts.fromAgent), phone.heard());
  assert.ok(heard.correlation >= 0.98, `baresip heard ${JSON.stringify(heard)}`);
});

test('linphonec', async () => {
  await using phone = await startLinphone({ folder, address: '127.0.0.35', speech: callerAudio() });
  const seen = await observe('linphone', NODE, server, async () => {
    await phone.call(`sip:8001@${NODE}`);
    await sleep(CALL_MS);
    await phone.hangUp();
  });
  check(seen);
  const heard = compareAudio(decodeStream(seen.facts.fromAgent), phone.heard());
  assert.ok(heard.correlation >= 0.95, `linphone heard ${JSON.stringify(heard)}`);
});

test("the machine's own non-loopback address", async (context) => {
  const own = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .find((each) => each.family === 'IPv4' && !each.internal);
  if (own === undefined) return context.skip('this machine has no other IPv4 address');
  const options = {
    folder,
    name: 'wildcard',
    address: '127.0.0.22',
    sipHost: '0.0.0.0',
    sipPort: 5070,
  };
  await using wide = await startServer({ ...options, script: SCRIPT });
  const place = sippCall('own', 'udp', 'PCMU', `${own.address}:5070`, own.address);
  // Both ends have one address here, so the capture is told apart by port.
  const known = await wide.recordIds();
  await place();
  const record = await wide.finishedRecord(known);
  assert.equal(record.outcome, 'completed');
  assert.deepEqual(
    record.messages.map((message) => message.content),
    [GREETING, QUESTION, ANSWER],
  );
});
