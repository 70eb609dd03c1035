/** The media engine under SRTP over loopback, against another implementation: both ways, strangers, a wrong key, new keys. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test, type TestContext } from 'node:test';
import { silentLog } from '#lib/log.ts';
import type { SrtpKey } from '#lib/srtp-params.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaSession, NegotiatedAudio } from '#media/types.ts';
import { newKey } from '#sip/sdp-crypto.ts';
import { eventually } from './_app.ts';
import { concat, find, RtpPhone, sweep, tone } from './_rtp-phone.ts';
import { SrtpPhone } from './_srtp-phone.ts';
import { atEnd } from './_store.ts';

const engine = createMediaEngine({ rtpPorts: { first: 24_000, last: 24_199 }, log: silentLog });
after(() => engine.close());

const OPTIONS = {
  ...{ callId: 'made-up', localAddress: '127.0.0.1', recordingPath: null },
  ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
};

const inlineOf = ({ key, salt }: SrtpKey): string => Buffer.concat([key, salt]).toString('base64');

function keyOf(phone: SrtpPhone): SrtpKey {
  const bytes = new Uint8Array(Buffer.from(phone.inline, 'base64'));
  return { suite: phone.suite, key: bytes.subarray(0, 16), salt: bytes.subarray(16) };
}

const audioTo = (phone: SrtpPhone, send: SrtpKey, receive = keyOf(phone)): NegotiatedAudio => ({
  ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: null },
  ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
  srtp: { send, receive },
});

function readAll(session: MediaSession): Int16Array {
  const into = new Int16Array(8000);
  const parts: Int16Array[] = [];
  for (let n = session.readCaller(into); n > 0; n = session.readCaller(into)) {
    parts.push(into.slice(0, n));
  }
  return concat(...parts);
}

async function open(t: TestContext, suite: SrtpPhone['suite']) {
  const phone = await SrtpPhone.open(suite);
  atEnd(t, () => phone.close());
  const session = await engine.open(OPTIONS);
  atEnd(t, async () => void (await session.close()));
  return { phone, session, own: newKey(suite) };
}

for (const suite of ['AES_CM_128_HMAC_SHA1_80', 'AEAD_AES_128_GCM'] as const) {
  test(`${suite}: heard both ways; plain and foreign packets are not, and are counted`, async (t) => {
    const { phone, session, own } = await open(t, suite);
    phone.agree(inlineOf(own));
    const stranger = await RtpPhone.open();
    atEnd(t, () => stranger.close());
    session.start(audioTo(phone, own));
    const said = sweep(300, 2500, 600);
    session.beginUtterance(1);
    void session.write(1, said);
    session.endUtterance(1);
    const noise = tone(1000, 600);
    // The signalled address itself sends plain RTP for half a second before its first real packet.
    await Promise.all([
      phone.play(noise.subarray(0, 3200), session.localPort, { plain: true }),
      stranger.play(noise, session.localPort),
    ]);
    const wanted = sweep(400, 2000, 600);
    const flood = stranger.play(noise, session.localPort);
    await phone.play(concat(new Int16Array(3200), wanted, new Int16Array(3200)), session.localPort);
    await flood;
    await eventually(
      async () => phone.heard.length,
      (count) => count > 60,
    );
    const heard = readAll(session);
    assert.ok(find(wanted, heard).correlation > 0.99);
    assert.ok(find(said, phone.signal).correlation > 0.99);
    assert.ok(find(noise.subarray(0, 1600), heard).correlation < 0.7, 'no plain packet was heard');
    assert.equal(phone.refused, 0, 'nothing plain left');
    assert.equal(stranger.heard.length, 0);
    const { stats } = await session.close();
    await eventually(
      async () => phone.reports,
      (count) => count > 0,
    );
    assert.ok(phone.reports > 0, 'the BYE at least');
    assert.ok((stats.srtp?.forged ?? 0) >= 20, `${stats.srtp?.forged} forged`);
    assert.deepEqual([stats.srtp?.replayed, stats.srtp?.unsent], [0, 0]);
  });
}

test('a wrong key: nothing is heard, all is counted; after a renegotiation with the right one it is', async (t) => {
  const { phone, session, own } = await open(t, 'AES_CM_128_HMAC_SHA1_80');
  phone.agree(inlineOf(own));
  const wrong: SrtpKey = { ...keyOf(phone), key: new Uint8Array(randomBytes(16)) };
  session.start(audioTo(phone, own, wrong));
  const wanted = sweep(400, 2000, 500);
  await phone.play(wanted, session.localPort);
  await eventually(
    async () => phone.heard.length,
    (count) => count >= 20,
  );
  assert.ok(
    readAll(session).every((sample) => sample === 0),
    'silence',
  );
  session.start(audioTo(phone, own));
  // Silence first: a jitter buffer that finds its depth does so there.
  await phone.play(concat(new Int16Array(3200), wanted, new Int16Array(3200)), session.localPort);
  assert.ok(find(wanted, readAll(session)).correlation > 0.99);
  assert.equal(phone.refused, 0, 'our own key went on');
  const { stats } = await session.close();
  assert.ok((stats.srtp?.forged ?? 0) >= 20 && (stats.srtp?.forged ?? 0) <= 25);
});
