/** Through Kamailio with record-route, in and out; outbound to far ends that challenge with 407 and check the answer. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeG711 } from '#src/demo/g711.ts';
import { checkScriptedCall, observe } from './tools/check-call.ts';
import { startKamailio } from './tools/kamailio.ts';
import { until, type Peer } from './tools/process.ts';
import { CALL_MS, callerAudio, SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { startSippUac, startSippUas, type Sipp } from './tools/sipp.ts';
import { uacXml, uasXml, type UasScenario } from './tools/sipp-scenario.ts';

const NODE = '127.0.0.21';
const EDGE = '127.0.0.10';
const CARRIER = '127.0.0.12';
const NUMBER = '95550123';
const LOGIN = { username: 'node', password: 'made-up-1' };
const MEDIA = { file: 'caller.ulaw', codec: 'PCMU' } as const;
const DIGEST = { ...LOGIN, realm: 'edge.test', uri: `sip:${NUMBER}@${CARRIER}:5060` };

let folder = '';
let kamailio: Peer;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-proxy-'));
  writeFileSync(join(folder, 'caller.ulaw'), encodeG711('PCMU', callerAudio()));
  const node = `sip:${NODE}:5060`;
  const carrier = `sip:${CARRIER}:5060`;
  kamailio = await startKamailio({ folder, address: EDGE, node, carrier, login: LOGIN });
});
after(async () => {
  await kamailio?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

function serve(name: string, trunkHost: string, password: string): Promise<Callyard> {
  const env = {
    CALLYARD_TRUNK: `sip:${trunkHost}:5060;transport=udp`,
    CALLYARD_TRUNK_USER: LOGIN.username,
    CALLYARD_TRUNK_PASSWORD: password,
    SIP_LOCAL_HOST: NODE,
    CALLYARD_RECORDING: 'on',
  };
  return startServer({ folder, name, address: NODE, script: SCRIPT, env });
}

function carrier(name: string, scenario: UasScenario): Promise<Sipp> {
  const run = { folder, name, address: CARRIER, mediaPort: 16000, timeoutS: 40 };
  return startSippUas({ ...run, xml: uasXml(scenario) }, 1);
}

async function dial(server: Callyard): Promise<string> {
  const body = { phone_number: NUMBER };
  return (await server.post<{ call_id: string }>('/api/call/initiate', body)).call_id;
}

test('in through Kamailio', async () => {
  await using server = await serve('in', EDGE, LOGIN.password);
  const seen = await observe(folder, 'in', server, async () => {
    const xml = uacXml({ talkMs: CALL_MS, media: MEDIA });
    const run = {
      folder,
      name: 'uac-in',
      xml,
      address: '127.0.0.11',
      mediaPort: 17000,
      timeoutS: 30,
    };
    const target = { target: `${EDGE}:5060`, service: '8001', calls: 1, ratePerS: 1 };
    await using uac = startSippUac(run, target);
    assert.equal((await uac.result()).code, 0, uac.log().slice(-800));
  });
  checkScriptedCall(seen, { direction: 'inbound', endedBy: 'caller' });
});

test('out through Kamailio, which wants a login; the far end hangs up', async () => {
  await using server = await serve('out', EDGE, LOGIN.password);
  await using far = await carrier('uas-out', { ringMs: 300, media: MEDIA, byeAfterMs: CALL_MS });
  const seen = await observe(folder, 'out', server, async () => {
    await dial(server);
    assert.equal((await far.result()).code, 0, far.log().slice(-800));
  });
  checkScriptedCall(seen, { direction: 'outbound', endedBy: 'caller' });
});

test('out to a far end that challenges and checks; the API ends the call', async () => {
  await using server = await serve('direct', CARRIER, LOGIN.password);
  await using far = await carrier('uas-direct', { ringMs: 300, media: MEDIA, digest: DIGEST });
  const seen = await observe(folder, 'direct', server, async () => {
    const id = await dial(server);
    await until('three messages', CALL_MS + 5000, async () => {
      const { messages } = await server.record(id);
      return messages.length === 3;
    });
    const ended = await server.post<{ status: string }>(`/api/call/${id}/terminate`, {});
    assert.equal(ended.status, 'ended');
    assert.equal((await far.result()).code, 0, far.log().slice(-800));
  });
  checkScriptedCall(seen, { direction: 'outbound', endedBy: 'api' });
});

for (const [name, host] of [
  ['a SIPp', CARRIER],
  ['Kamailio', EDGE],
] as const) {
  test(`a wrong password at ${name} ends as auth_failed`, async () => {
    await using server = await serve(`wrong-${host}`, host, 'made-up-2');
    await using far = await carrier(`uas-wrong-${host}`, { ringMs: 10, digest: DIGEST });
    const known = await server.recordIds();
    const id = await dial(server);
    const record = await server.finishedRecord(known);
    assert.equal(record.id, id);
    assert.deepEqual(
      [record.status, record.outcome, record.hangup_reason],
      ['failed', 'auth_failed', 'error'],
    );
    assert.equal(record.duration_seconds, 0);
    assert.equal(record.sip_status, 407);
    await far.stop();
  });
}
