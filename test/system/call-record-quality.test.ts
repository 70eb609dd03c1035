/** The quality of one whole SIP call with loss on its way, as the record, the event, the call and the metrics tell it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CODEC_IMPAIRMENTS, mosOf, rFactor } from '#media/quality/e-model.ts';
import { eventually, startTestApp } from './_app.ts';
import { RtpPhone, tone } from './_rtp-phone.ts';
import { SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

type Quality = {
  mos: number;
  mos_min: number;
  loss_pct: number;
  jitter_ms: number;
  codec: string;
  fault: string | null;
};
type Event = { type: string; data: { quality?: Quality | null } };

const FRAMES = 260;
/** 3.1 %: every 32nd packet. */
const isLost = (at: number): boolean => at % 32 === 7;

test('a call with 3 % loss: what the record, the event and the metrics say of it', async (t) => {
  const server = await startTestApp(t, { CALLYARD_CODECS: 'PCMU' });
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  const phone = await RtpPhone.open();
  atEnd(t, () => phone.close());
  const body = [
    ...['v=0', 'o=peer 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0'],
    ...[`m=audio ${phone.port} RTP/AVP 0`, ''],
  ].join('\r\n');
  const call = peer.start('INVITE', { body, extra: ['Content-Type: application/sdp'] });
  const answer = await call.response('INVITE');
  assert.equal(answer.status, 200, answer.startLine);
  call.confirm(answer).ack();
  const port = Number(/^m=audio (\d+)/m.exec(answer.body)?.[1]);

  // A word of 300 ms in each second: neither silence nor one level all along.
  const word = tone(440, 300, 6000, true);
  const startMs = performance.now();
  for (let at = 0; at < FRAMES; at++) {
    const waitMs = startMs + at * 20 - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const from = (at % 50) * 160;
    const frame = from < word.length ? word.subarray(from, from + 160) : new Int16Array(160);
    phone.sendFrame(frame, isLost(at) ? 9 : port);
  }
  call.send('BYE');
  await call.response('BYE');

  const path = '/api/v1/call-records';
  const list = await eventually(
    () => server.get<{ records: { id: string; status: string }[] }>(path),
    ({ data }) => data.records[0]?.status === 'ended',
  );
  const id = list.data.records[0]?.id ?? '';
  const { data: record } = await server.get<{ quality: Quality | null }>(`${path}/${id}`);
  const { quality } = record;
  assert.ok(quality);
  assert.deepEqual(Object.keys(quality).toSorted(), [
    ...['codec', 'fault', 'jitter_ms', 'loss_pct', 'mos', 'mos_min'],
  ]);
  assert.deepEqual([quality.codec, quality.fault], ['PCMU', 'loss']);
  // On a machine with other work to do, some may be late as well; the score is that of what is told.
  assert.ok(quality.loss_pct >= 3 && quality.loss_pct < 12, JSON.stringify(quality));
  const input = { codec: CODEC_IMPAIRMENTS.PCMU, lossPct: quality.loss_pct, burstRatio: 1 };
  const model = mosOf(rFactor({ ...input, delayMs: 100 }));
  assert.ok(Math.abs(quality.mos - model) < 0.2, `${quality.mos}, by the model ${model}`);
  assert.ok(quality.mos_min <= quality.mos);

  const events = await server.get<{ events: Event[] }>(`${path}/${id}/events?page_size=100`);
  const ended = events.data.events.find(({ type }) => type === 'call.ended');
  assert.deepEqual(ended?.data.quality, quality);
  const live = await server.get<{ quality: Quality | null }>(`/v1/phone/calls/${id}`);
  assert.deepEqual(live.data.quality, quality);

  const metrics = await (await fetch(`${server.app.httpUrl}/metrics`)).text();
  const figure = (name: string): number =>
    Number(new RegExp(`^${name.replaceAll(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(metrics)?.[1]);
  assert.equal(figure('callyard_mos_count'), 1);
  assert.ok(Math.abs(figure('callyard_mos_sum') - quality.mos) < 0.01);
  assert.equal(figure('callyard_rtp_jitter_seconds_count'), 1);
  assert.equal(figure('callyard_jitter_buffer_seconds_count'), 1);
  assert.equal(figure('callyard_quality_faults_total{fault="loss"}'), 1);
  const lost = Array.from({ length: FRAMES }, (_, at) => at).filter((at) => isLost(at)).length;
  assert.equal(figure('callyard_rtp_lost_total'), lost);
  // Two of them fell into a word; how much is made up of the others is the concealment's affair.
  assert.ok(figure('callyard_rtp_concealed_seconds_total') > 0.02);
  assert.ok(figure('callyard_rtp_late_total') >= 0);
});
