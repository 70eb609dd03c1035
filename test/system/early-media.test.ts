/** Audio before the answer of a call of ours (183 with SDP): it is told of, and neither heard, answered nor written down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, startTestApp } from './_app.ts';
import { utterance } from './_realtime-contract.ts';
import { concat, RtpPhone } from './_rtp-phone.ts';
import { header, SDP, SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

const SCRIPT = {
  greeting: 'Hello.',
  utterances: { '1': 'The number you have dialled.', '2': 'It is me.' },
  replies: [],
  defaultReply: 'I see.',
};

type Record = {
  status: string;
  messages: { role: string; content: string }[];
};

test('a 183 with SDP: nobody hears it; the 200 of another fork decides where audio goes', async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  const [gateway, phone] = [await RtpPhone.open(), await RtpPhone.open('127.0.0.1', 7)];
  atEnd(t, () => [gateway, phone].forEach((one) => one.close()));
  const trunk = { name: 'early', host: '127.0.0.1', port: peer.port, codecs: ['PCMU'] };
  await server.post('/api/v1/sip-trunks', trunk);
  const to = { to: '+15550142' };
  const placed = await server.post<{ id: string }>('/v1/phone/calls', to);
  assert.equal(placed.status, 201, JSON.stringify(placed.data));
  const invite = await peer.invite();
  const port = Number(/^m=audio (\d+)/m.exec(invite.body)?.[1]);
  peer.respond(invite, '183 Session Progress', { toTag: 'early', body: SDP(gateway.port) });
  const announcement = gateway.play(concat(utterance(1, 1200), new Int16Array(8000 * 2)), port);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal(gateway.heard.length, 0, 'nothing is sent before the answer');
  peer.respond(invite, '200 OK', { toTag: 'other', body: SDP(phone.port) });
  const ack = await peer.next('ACK', ({ method }) => method === 'ACK');
  assert.match(header(ack, 'to'), /tag=other/);
  await phone.play(concat(new Int16Array(8000), utterance(2, 1200)), port);
  await announcement;
  const ended = server.post(`/v1/phone/calls/${placed.data.id}/hangup`, {});
  peer.respond(await peer.next('BYE', ({ method }) => method === 'BYE'), '200 OK');
  await ended;
  const { data } = await eventually(
    () => server.get<Record>(`/api/v1/call-records/${placed.data.id}`),
    ({ data: record }) => record.status === 'ended',
  );
  assert.deepEqual(
    data.messages.filter(({ role }) => role === 'user').map(({ content }) => content),
    ['It is me.'],
  );
  assert.equal(gateway.heard.length, 0, 'nor after it');
  assert.ok(phone.heard.length > 50);
  const path = `/api/v1/call-records/${placed.data.id}/events`;
  const { data: told } = await server.get<{ events: { type: string; data: object }[] }>(path);
  assert.deepEqual(told.events.find(({ type }) => type === 'call.ringing')?.data, {
    ...{ sip_status: 183, early_media: true },
  });
});
