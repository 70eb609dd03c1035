/**
 * `options.media_source` of a trunk through whole calls: the carrier's SDP names one address and its audio comes from
 * another network. One call for each value, and one that comes in; each is a conversation, or none.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { MediaSource } from '#lib/media-source.ts';
import { eventually, startTestApp, type TestApp } from './_app.ts';
import { utterance } from './_realtime-contract.ts';
import { concat, RtpPhone } from './_rtp-phone.ts';
import { SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

/** Public, and nobody: the sockets of these calls are bound to loopback, so nothing gets out to it. */
const PUBLIC = { address: '9.1.2.3', port: 40_000 };
const RELAY = '127.0.0.3';
const STRANGER = '127.0.0.9';

const SCRIPT = {
  greeting: 'Hello.',
  utterances: { '1': 'The relay speaks.', '2': 'The signalled one speaks.', '3': 'I intrude.' },
  replies: [{ match: 'The relay speaks.', reply: 'I hear the relay.' }],
  defaultReply: 'I hear something else.',
};

type Place = { readonly address: string; readonly port: number };
type Call = {
  readonly id: string;
  /** Where its audio is wanted. */
  readonly port: number;
  hangUp(): Promise<void>;
};

const sdp = ({ address, port }: Place): string =>
  [
    ...['v=0', 'o=peer 1 1 IN IP4 127.0.0.1', 's=-', `c=IN IP4 ${address}`, 't=0 0'],
    ...[`m=audio ${port} RTP/AVP 0`, ''],
  ].join('\r\n');

const portIn = (body: string): number => Number(/^m=audio (\d+)/m.exec(body)?.[1]);

async function openPeer(t: TestContext, server: TestApp): Promise<SipPeer> {
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  return peer;
}

async function openPhone(t: TestContext, address: string, ssrc?: number): Promise<RtpPhone> {
  const phone = await RtpPhone.open(address, ssrc);
  atEnd(t, () => phone.close());
  return phone;
}

async function addTrunk(server: TestApp, source: MediaSource, port: number): Promise<string> {
  const { status, data } = await server.post<{ id: string }>('/api/v1/sip-trunks', {
    ...{ name: source, host: '127.0.0.1', port, codecs: ['PCMU'] },
    ...{ options: { media_source: source }, priority: source === 'any' ? 1 : 2 },
  });
  assert.equal(status, 201, JSON.stringify(data));
  return data.id;
}

/** A call over a trunk of its own, answered with `signalled` as the place of the audio. */
async function callOut(
  t: TestContext,
  server: TestApp,
  source: MediaSource,
  signalled: Place,
): Promise<Call> {
  const peer = await openPeer(t, server);
  const trunkId = await addTrunk(server, source, peer.port);
  const placed = await server.post<{ id: string }>('/v1/phone/calls', {
    ...{ to: '+15550142', trunk_id: trunkId },
  });
  assert.equal(placed.status, 201, JSON.stringify(placed.data));
  const invite = await peer.invite();
  peer.respond(invite, '200 OK', { toTag: source, body: sdp(signalled) });
  await peer.next('ACK', (message) => message.method === 'ACK');
  return {
    id: placed.data.id,
    port: portIn(invite.body),
    hangUp: async () => {
      const path = `/v1/phone/calls/${placed.data.id}/hangup`;
      const [bye, ended] = await Promise.all([
        peer.next('BYE', (message) => message.method === 'BYE'),
        server.post(path, {}),
      ]);
      peer.respond(bye, '200 OK');
      assert.equal(ended.status, 200, JSON.stringify(ended.data));
    },
  };
}

async function inboundId(server: TestApp): Promise<string> {
  type List = { records: { id: string; direction: string }[] };
  const list = async (): Promise<string | undefined> => {
    const { data } = await server.get<List>('/api/v1/call-records');
    return data.records.find(({ direction }) => direction === 'inbound')?.id;
  };
  return (await eventually(list, (id) => id !== undefined)) ?? '';
}

/** A call from a trunk's address. */
async function callIn(t: TestContext, server: TestApp, signalled: Place): Promise<Call> {
  const peer = await openPeer(t, server);
  const call = peer.start('INVITE', {
    ...{ body: sdp(signalled), extra: ['Content-Type: application/sdp'] },
  });
  const answer = await call.response('INVITE');
  assert.equal(answer.status, 200, answer.startLine);
  call.confirm(answer).ack();
  return {
    ...{ id: await inboundId(server), port: portIn(answer.body) },
    hangUp: async () => {
      call.send('BYE');
      await call.response('BYE');
    },
  };
}

const speech = (id: number): Int16Array => concat(new Int16Array(1200 * 8), utterance(id, 1200));

/** What the caller said by the record of the call, which ends here. */
async function heardIn(server: TestApp, call: Call): Promise<string[]> {
  await call.hangUp();
  type Record = { status: string; messages: { role: string; content: string }[] };
  const { data } = await eventually(
    () => server.get<Record>(`/api/v1/call-records/${call.id}`),
    ({ data: record }) => record.status === 'ended',
  );
  assert.equal(data.status, 'ended');
  return data.messages.filter(({ role }) => role === 'user').map(({ content }) => content);
}

/** The relay is heard and hears; a stranger who comes later, with its SSRC, does neither. */
async function talkByRelay(t: TestContext, server: TestApp, call: Call): Promise<void> {
  const relay = await openPhone(t, RELAY);
  const stranger = await openPhone(t, STRANGER);
  await relay.play(speech(1), call.port);
  await Promise.all([
    relay.play(new Int16Array(8000 * 2), call.port),
    stranger.play(utterance(3, 1200), call.port),
  ]);
  assert.deepEqual(await heardIn(server, call), ['The relay speaks.']);
  const loud = relay.heard.filter(({ pcm }) => pcm.some((sample) => Math.abs(sample) > 500));
  assert.ok(loud.length > 10, `the relay hears the reply: ${loud.length} packets`);
  assert.equal(stranger.heard.length, 0);
}

test('media_source of a trunk: where audio may come from', { concurrency: true }, async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const silent = await openPhone(t, '127.0.0.1', 7);
  const private_ = { address: '127.0.0.1', port: silent.port };
  const any = await callOut(t, server, 'any', PUBLIC);
  const strict = await callOut(t, server, 'strict', private_);
  const auto = await callOut(t, server, 'auto', PUBLIC);
  const inbound = await callIn(t, server, PUBLIC);
  const run = (name: string, body: (u: TestContext) => Promise<void>) => t.test(name, body);
  await Promise.all([
    run('any: a relay in another network converses', (u) => talkByRelay(u, server, any)),
    run('any: so it does on a call that comes in', (u) => talkByRelay(u, server, inbound)),
    run(
      'strict: nobody but the signalled address and port, private and silent though it is',
      async (u) => {
        const relay = await openPhone(u, RELAY);
        const host = await openPhone(u, '127.0.0.1', 9);
        await Promise.all([relay, host].map((phone) => phone.play(utterance(1), strict.port)));
        assert.deepEqual([relay.heard.length, host.heard.length], [0, 0]);
        await silent.play(utterance(2, 1200), strict.port);
        assert.deepEqual(await heardIn(server, strict), ['The signalled one speaks.']);
        assert.ok(silent.heard.length > 100, 'it is sent to from the start');
      },
    ),
    run('auto: a public address is not spoken for by another network', async (u) => {
      const relay = await openPhone(u, RELAY);
      await relay.play(speech(1), auto.port);
      assert.deepEqual(await heardIn(server, auto), []);
      assert.equal(relay.heard.length, 0);
    }),
  ]);
});
