/** The testbed against itself, without our server: if this fails, the peers or the tools are at fault, not Callyard. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeG711, encodeG711 } from '#src/demo/g711.ts';
import { placeCall } from '#src/demo/phone.ts';
import { startBaresip } from './tools/baresip.ts';
import { startCapture } from './tools/capture.ts';
import { compareAudio } from './tools/correlate.ts';
import { startKamailio } from './tools/kamailio.ts';
import { startLinphone } from './tools/linphone.ts';
import { decodeStream, rtpStreams } from './tools/rtp-report.ts';
import { startSippUac, startSippUas } from './tools/sipp.ts';
import { uacXml, uasXml } from './tools/sipp-scenario.ts';
import { concatPcm, readChannel, silence } from './tools/wav.ts';

const speech = readChannel(new URL('../../src/demo/speech-en.wav', import.meta.url).pathname);
let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-testbed-'));
  writeFileSync(join(folder, 'speech.ulaw'), encodeG711('PCMU', concatPcm(speech, silence(500))));
});
after(
  () =>
    process.env['CALLYARD_KEEP'] === undefined && rmSync(folder, { recursive: true, force: true }),
);

test('the comparison sees what was done to a sound', () => {
  const coded = decodeG711('PCMU', encodeG711('PCMU', speech));
  const late = compareAudio(speech, concatPcm(silence(150), coded));
  assert.equal(late.delayMs, 150);
  assert.ok(late.correlation > 0.999, `corr ${late.correlation}`);
  assert.deepEqual([late.longestGapMs, late.lagSpreadMs, late.repeats], [0, 0, 0]);
  const holed = coded.slice();
  holed.fill(0, 12_000, 12_000 + 100 * 8);
  assert.ok(compareAudio(speech, holed).longestGapMs >= 90);
  const slipped = concatPcm(coded.subarray(0, 9600), silence(40), coded.subarray(9600));
  const slip = compareAudio(speech, slipped);
  assert.ok(slip.correlation < 0.9 && slip.lagSpreadMs >= 39, JSON.stringify(slip));
  assert.ok(compareAudio(speech, speech.toReversed()).correlation < 0.5);
});

for (const [transport, address] of [
  ['udp', '127.0.0.21'],
  ['tcp', '127.0.0.22'],
] as const) {
  test(`our caller and a SIPp echo over ${transport}, captured`, async () => {
    const xml = uasXml({ ringMs: 100 });
    const extra = ['-rtp_echo'];
    const run = {
      folder,
      name: `echo-${transport}`,
      xml,
      address,
      transport,
      mediaPort: 16000,
      timeoutS: 20,
      extra,
    };
    await using uas = await startSippUas(run, 1);
    await using capture = await startCapture(
      join(folder, `${transport}.pcap`),
      `udp and host ${address}`,
    );
    const call = await placeCall({
      target: `sip:8001@${address};transport=${transport}`,
      codecs: ['PCMU'],
    });
    await call.say(speech);
    await sleep(100);
    await call.hangUp();
    assert.equal((await uas.result()).code, 0);
    const streams = rtpStreams(await capture.finish());
    assert.equal(streams.length, 2);
    for (const stream of streams) {
      assert.equal(stream.missing, 0);
      assert.ok(compareAudio(speech, decodeStream(stream)).correlation > 0.999);
    }
  });
}

test('SIPp calls baresip; each hears the other', async () => {
  const address = '127.0.0.31';
  await using phone = await startBaresip({ folder, name: 'alice', address, speech });
  await using capture = await startCapture(join(folder, 'baresip.pcap'), 'udp and host 127.0.0.11');
  const media = { file: 'speech.ulaw', codec: 'PCMU' } as const;
  const xml = uacXml({ talkMs: 3500, media });
  const run = {
    folder,
    name: 'to-alice',
    xml,
    address: '127.0.0.11',
    mediaPort: 17000,
    timeoutS: 20,
  };
  await using uac = startSippUac(run, {
    target: `${address}:5060`,
    service: 'alice',
    calls: 1,
    ratePerS: 1,
  });
  const { code, statistics } = await uac.result();
  assert.equal(code, 0, uac.log().slice(-800));
  assert.equal(statistics.successful, 1);
  assert.equal(statistics.inviteMs.length, 1);
  await phone.waitFor('CALL_CLOSED', 3000);
  const heard = compareAudio(speech, phone.heard());
  assert.ok(heard.correlation > 0.98 && heard.longestGapMs <= 20, JSON.stringify(heard));
  const fromPhone = rtpStreams(await capture.finish()).find((stream) =>
    stream.target.startsWith('127.0.0.11'),
  );
  assert.ok(fromPhone !== undefined);
  assert.ok(compareAudio(speech, decodeStream(fromPhone)).correlation > 0.98);
});

test('baresip through Kamailio with record-route to a SIPp that challenges', async () => {
  const carrier = '127.0.0.12';
  const digest = {
    username: 'node',
    password: 'right-1',
    realm: 'edge.test',
    uri: 'sip:127.0.0.10:5060',
  };
  await using kamailio = await startKamailio({
    folder,
    address: '127.0.0.10',
    node: 'sip:127.0.0.21:5060',
    carrier: `sip:${carrier}:5060`,
  });
  const uas = {
    folder,
    xml: uasXml({ ringMs: 100, digest }),
    address: carrier,
    mediaPort: 16000,
    timeoutS: 20,
  };
  const extra = ['-au', 'node'];
  const target = { target: '127.0.0.10:5060', service: '9123', calls: 1, ratePerS: 1 };
  for (const [name, password, wanted] of [
    ['right', 'right-1', 1],
    ['wrong', 'wrong-1', 0],
  ] as const) {
    await using called = await startSippUas({ ...uas, name: `uas-${name}` }, 1);
    const caller = {
      folder,
      name: `uac-${name}`,
      xml: withDigest(uacXml({ talkMs: 300 })),
      timeoutS: 10,
    };
    const run = {
      ...caller,
      address: '127.0.0.21',
      mediaPort: 17000,
      extra: [...extra, '-ap', password],
    };
    await using uac = startSippUac(run, target);
    const { statistics } = await uac.result();
    assert.equal(statistics.successful, wanted, `${name}: ${uac.log().slice(-500)}`);
    await called.stop();
  }
  assert.ok(kamailio.isRunning);
});

test('a SIPp that hangs up itself ends the call of our caller', async () => {
  const address = '127.0.0.21';
  const xml = uasXml({ ringMs: 10, byeAfterMs: 300 });
  await using uas = await startSippUas(
    { folder, name: 'uas-bye', xml, address, mediaPort: 16000, timeoutS: 20 },
    1,
  );
  const call = await placeCall({ target: `sip:1@${address}` });
  assert.equal(await call.sip.ended, 'remote');
  await call.hangUp();
  assert.equal((await uas.result()).code, 0, uas.log().slice(-500));
});

test('linphonec calls a SIPp echo and hears itself', async () => {
  const address = '127.0.0.21';
  const extra = ['-rtp_echo'];
  const run = {
    folder,
    name: 'echo-linphone',
    xml: uasXml({ ringMs: 10 }),
    address,
    mediaPort: 16000,
    timeoutS: 30,
    extra,
  };
  await using uas = await startSippUas(run, 1);
  await using phone = await startLinphone({ folder, address: '127.0.0.35', speech });
  await phone.call(`sip:8001@${address}`);
  await sleep(4000);
  await phone.hangUp();
  assert.equal((await uas.result()).code, 0, uas.log().slice(-500));
  // Its file sound card skips when the machine is busy: the level says that it heard something, no more.
  const heard = compareAudio(speech, phone.heard());
  assert.ok(heard.levelDb > -40, JSON.stringify(heard));
});

/** The caller's scenario with a second INVITE that answers the 407. */
function withDigest(xml: string): string {
  const at = xml.indexOf('<send');
  const end = xml.indexOf('</send>', at) + '</send>'.length;
  const invite = xml.slice(at, end);
  const again = invite
    .replace('1 INVITE', '2 INVITE')
    .replace('Contact:', '[authentication]\nContact:')
    .replace(' start_rtd="invite"', '');
  const ack = `<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
`;
  const challenged = `<recv response="100" optional="true"/><recv response="407" auth="true"/>\n${ack}${again}`;
  return (
    xml.slice(0, end) +
    challenged +
    xml.slice(end).replace('1 ACK', '2 ACK').replace('2 BYE', '3 BYE')
  );
}
