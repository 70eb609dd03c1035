/** Answering real clients: SIPp over UDP and TCP, baresip, linphonec. Each is greeted, asks, is answered, hangs up. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeG711 } from '#src/demo/g711.ts';
import { startBaresip } from './tools/baresip.ts';
import { checkScriptedCall, observe } from './tools/check-call.ts';
import { compareAudio } from './tools/correlate.ts';
import { startLinphone } from './tools/linphone.ts';
import { decodeStream } from './tools/rtp-report.ts';
import { ANSWER, CALL_MS, callerAudio, GREETING, QUESTION, SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { startSippUac } from './tools/sipp.ts';
import { uacXml } from './tools/sipp-scenario.ts';

const NODE = '127.0.0.21';
const INBOUND = { direction: 'inbound', endedBy: 'caller' } as const;
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
  const place = sippCall('udp', 'udp', 'PCMU', `${NODE}:5060`, '127.0.0.11');
  checkScriptedCall(await observe(folder, 'udp', server, place), INBOUND);
});

test('SIPp over TCP, PCMA', async () => {
  const place = sippCall('tcp', 'tcp', 'PCMA', `${NODE}:5060`, '127.0.0.12');
  checkScriptedCall(await observe(folder, 'tcp', server, place), INBOUND);
});

test('baresip', async () => {
  const options = { folder, name: 'alice', address: '127.0.0.31', speech: callerAudio() };
  await using phone = await startBaresip(options);
  const seen = await observe(folder, 'baresip', server, async () => {
    await phone.command(`dial sip:8001@${NODE}`);
    await phone.waitFor('CALL_ESTABLISHED', 15_000);
    await sleep(CALL_MS);
    await phone.command('hangup');
    await phone.waitFor('CALL_CLOSED', 15_000);
  });
  checkScriptedCall(seen, INBOUND);
  const heard = compareAudio(decodeStream(seen.facts.fromAgent), phone.heard());
  assert.ok(heard.correlation >= 0.9, `baresip heard ${JSON.stringify(heard)}`);
});

test('linphonec', async () => {
  const options = { folder, address: '127.0.0.35', speech: callerAudio() };
  await using phone = await startLinphone(options);
  const seen = await observe(folder, 'linphone', server, async () => {
    await phone.call(`sip:8001@${NODE}`);
    await sleep(CALL_MS);
    await phone.hangUp();
  });
  checkScriptedCall(seen, INBOUND);
  // Its file sound card skips under load, so only "it heard us" is asked of linphone's own ear.
  const heard = compareAudio(decodeStream(seen.facts.fromAgent), phone.heard());
  assert.ok(heard.levelDb > -40, `linphone heard ${JSON.stringify(heard)}`);
});

test("the machine's own non-loopback address", async (context) => {
  const own = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .find((each) => each.family === 'IPv4' && !each.internal);
  if (own === undefined) return context.skip('this machine has no other IPv4 address');
  const place = { folder, name: 'wildcard', address: '127.0.0.22' };
  await using wide = await startServer({
    ...place,
    sipHost: '0.0.0.0',
    sipPort: 5070,
    script: SCRIPT,
  });
  // Both ends have one address here, so a capture could not tell them apart: the record has to do.
  const known = await wide.recordIds();
  await sippCall('own', 'udp', 'PCMU', `${own.address}:5070`, own.address)();
  const record = await wide.finishedRecord(known);
  assert.equal(record.outcome, 'completed');
  const said = record.messages.map((message) => message.content);
  assert.deepEqual(said, [GREETING, QUESTION, ANSWER]);
});
