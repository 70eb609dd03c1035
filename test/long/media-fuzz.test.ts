/**
 * Ten million mutated packets from the phones of live calls (FUZZ_PACKETS says how many): nothing is thrown, nearly all
 * reach a parser, and the callers are heard as in quiet calls. Most go into the chain; a share through real sockets.
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaEvent } from '#media/types.ts';
import { concat, find, heardSignal, RtpPhone, sweep, tone } from '../system/_rtp-phone.ts';
import { fuzzCall, likeness, MUTATIONS, randomOf } from '../unit/_media-fuzz.ts';

const PACKETS = Number(process.env['FUZZ_PACKETS'] ?? 10_000_000);
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261_121);
const FRAMES = 3000;
const PER_FRAME = 100;
const SOCKET_PACKETS = Math.min(200_000, PACKETS / 10);
const SOCKET_PER_MS = 10;

test(`${PACKETS} mutated packets, seed ${SEED}`, async () => {
  const calls = Math.max(1, Math.round(PACKETS / (FRAMES * PER_FRAME)));
  const quiet = await fuzzCall({ seed: SEED, frames: FRAMES, perFrame: 0 });
  let [sent, reached, worst] = [0, 0, 1];
  for (let call = 0; call < calls; call++) {
    const seed = SEED + call;
    const loud = await fuzzCall({ seed, frames: FRAMES, perFrame: PER_FRAME });
    assert.deepEqual(loud.thrown, [], `seed ${seed}`);
    assert.equal(loud.failed, 0, `seed ${seed}`);
    sent += loud.sent;
    reached += loud.reached;
    const alike = likeness(quiet.heard, loud.heard);
    worst = Math.min(worst, alike);
    assert.ok(alike >= 0.999, `correlation ${alike}, seed ${seed}`);
  }
  console.log(`# ${sent} packets, ${reached} reached a parser, least correlation ${worst}`);
  assert.ok(reached >= 0.99 * sent, `${reached} of ${sent}`);
});

test(`${SOCKET_PACKETS} of them through the sockets of a call that goes on talking`, async (t) => {
  const engine = createMediaEngine({ rtpPorts: { first: 24_300, last: 24_319 }, log: silentLog });
  t.after(() => engine.close());
  const phone = await RtpPhone.open('127.0.0.1', 7);
  t.after(() => phone.close());
  const rtcp = createSocket('udp4');
  t.after(() => rtcp.close());
  rtcp.bind(phone.port + 1, '127.0.0.1');
  await once(rtcp, 'listening');
  const session = await engine.open({
    ...{ callId: 'fuzzed', localAddress: '127.0.0.1', recordingPath: null },
    ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
  });
  const events: MediaEvent[] = [];
  session.onEvent((event) => events.push(event));
  session.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
    ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
  });
  await phone.play(new Int16Array(1600), session.localPort);
  const random = randomOf(SEED);
  const names = Object.keys(MUTATIONS);
  const base = Uint8Array.from({ length: 172 }, (_, i) => [0x80, 0][i] ?? (i === 11 ? 7 : 0x55));
  let sent = 0;
  const flood = (async () => {
    while (sent < SOCKET_PACKETS) {
      for (let i = 0; i < SOCKET_PER_MS; i++) {
        const name = names[random(names.length)] as string;
        const bytes = (MUTATIONS[name] as (typeof MUTATIONS)[string])(base.slice(), random);
        if (random(8) === 0) rtcp.send(bytes, session.localPort + 1, '127.0.0.1');
        else phone.socket.send(bytes, session.localPort, '127.0.0.1');
        sent++;
      }
      await sleep(1);
    }
  })();
  const heard: number[] = [];
  const chunk = new Int16Array(1600);
  let isOver = false;
  const listening = (async () => {
    while (!isOver) {
      for (let n = session.readCaller(chunk); n > 0; n = session.readCaller(chunk)) {
        heard.push(...chunk.subarray(0, n));
      }
      await sleep(100);
    }
  })();
  const said = sweep(400, 2500, 2000);
  await phone.play(concat(new Int16Array(8000), said, new Int16Array(8000)), session.localPort);
  const answer = tone(600, 500);
  session.beginUtterance(1);
  await session.write(1, answer);
  session.endUtterance(1);
  await flood;
  await sleep(300);
  isOver = true;
  await listening;
  const { stats } = await session.close();
  const reached =
    stats.packetsReceived +
    stats.malformedDropped +
    stats.foreignDropped +
    (stats.rtcpReceived ?? 0) +
    (stats.rtcpMalformed ?? 0) +
    (stats.rtcpForeign ?? 0);
  const total = sent + phone.sentAtMs.length;
  console.log(`# ${total} packets, ${reached} reached a parser`);
  assert.ok(reached >= 0.99 * total, `${reached} of ${total}`);
  assert.deepEqual(
    events.filter(({ type }) => type === 'media.failed'),
    [],
  );
  const { correlation } = find(said, Int16Array.from(heard));
  assert.ok(correlation >= 0.98, `the caller is heard: ${correlation}`);
  assert.ok(find(answer.subarray(0, 2000), heardSignal(phone)).correlation >= 0.98, 'and hears');
});
