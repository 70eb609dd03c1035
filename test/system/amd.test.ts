/**
 * Who answers a call of ours, on the wire: phones of our own are called by the whole server, and play a person, a voicemail
 * box, a fax, nobody, and a menu that listens to keys.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { clientOf, dataOf, type Client } from './_answering.ts';
import { eventually, startTestApp } from './_app.ts';
import { concat, RtpPhone, tone, type HeardPacket } from './_rtp-phone.ts';
import { header, SDP, SipPeer, type PeerMessage } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

const GREETING = 'Good day, this is a call about your order and I would like to ask you something.';
const MESSAGE = 'Please call us back about order {{order}}.';
const SCRIPT = {
  utterances: {
    '1': 'Hello?',
    '2': 'You have reached Ann. Please leave a message after the tone.',
    '3': 'For sales, press 1. For support, press 2.',
    '4': 'Welcome to the support.',
  },
  replies: [
    { match: 'Hello?', reply: 'Nice to meet you.' },
    {
      match: '/press 2/',
      note: '/automated phone menu.*send_dtmf/s',
      reply: '',
      call: { name: 'send_dtmf', arguments: { digits: '2' } },
    },
    { match: 'Welcome to the support.', reply: 'I have a question.' },
    { result: '/"sent":"2"/', reply: 'Let me see.' },
  ],
  defaultReply: 'Who is there?',
};

type Record = {
  readonly id: string;
  readonly status: string;
  readonly outcome: string;
  readonly ended_by: string;
  readonly hangup_reason: string;
  readonly messages: readonly { role: string; content: string; interrupted?: boolean }[];
  readonly metadata: { readonly amd?: { [name: string]: unknown } };
};
type Event = { readonly type: string; readonly data: { readonly [name: string]: unknown } };

/** A phone that is called; it sends silence, and what it is told to say. */
class Callee {
  readonly rtp: RtpPhone;
  readonly keys: string[] = [];
  onKey: (key: string) => void = () => undefined;
  readonly #peer: SipPeer;
  readonly #number: string;
  #queue: Int16Array[] = [];
  #isOver = false;
  endedAtMs: number | null = null;
  invite: PeerMessage | null = null;

  constructor(peer: SipPeer, rtp: RtpPhone, number: string) {
    this.#peer = peer;
    this.rtp = rtp;
    this.#number = number;
    rtp.socket.on('message', (bytes: Buffer) => this.#listen(bytes));
  }

  static async open(t: TestContext, peer: SipPeer, number: string): Promise<Callee> {
    const callee = new Callee(peer, await RtpPhone.open(), number);
    atEnd(t, () => {
      callee.#isOver = true;
      callee.rtp.close();
    });
    return callee;
  }

  /** Takes the next call to its number; resolves when it talks. */
  async answer(): Promise<void> {
    const isMine = (one: PeerMessage): boolean =>
      one.method === 'INVITE' && one.startLine.includes(this.#number);
    const invite = await this.#peer.next(`INVITE for ${this.#number}`, isMine);
    this.invite = invite;
    const line = 'm=audio 40000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000';
    const toTag = `t${this.#number}`;
    this.#peer.respond(invite, '200 OK', { toTag, body: SDP(this.rtp.port, line) });
    void this.#speak(Number(/^m=audio (\d+)/m.exec(invite.body)?.[1]));
    void this.#waitForBye(header(invite, 'call-id'));
  }

  async #waitForBye(callId: string): Promise<void> {
    const isMine = (one: PeerMessage): boolean =>
      one.method === 'BYE' && header(one, 'call-id') === callId;
    for (;;) {
      try {
        const bye = await this.#peer.next('BYE', isMine);
        this.endedAtMs = performance.now();
        this.#isOver = true;
        this.#peer.respond(bye, '200 OK');
        return;
      } catch {
        if (this.#isOver) return; // nobody hung up within 4 s: asked again
      }
    }
  }

  async #speak(toPort: number): Promise<void> {
    const silence = new Int16Array(160);
    for (let at = performance.now(); !this.#isOver; at += 20) {
      const waitMs = at - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (!this.#isOver) this.rtp.sendFrame(this.#queue.shift() ?? silence, toPort);
    }
  }

  /** Sends `pcm` after what it still has to send. */
  send(...parts: Int16Array[]): void {
    const pcm = concat(...parts);
    for (let at = 0; at + 160 <= pcm.length; at += 160) this.#queue.push(pcm.slice(at, at + 160));
  }

  #listen(bytes: Buffer): void {
    if ((bytes.readUInt8(1) & 0x7f) !== 101 || (bytes.readUInt8(1) & 0x80) === 0) return;
    const key = '0123456789*#ABCD'[bytes.readUInt8(12)] ?? '?';
    this.keys.push(key);
    this.onKey(key);
  }

  /** Milliseconds of sound in what was heard between two times. */
  soundMs(fromMs: number, toMs: number): number {
    const isLoud = ({ pcm }: HeardPacket): boolean => pcm.some((sample) => Math.abs(sample) > 500);
    const within = this.rtp.heard.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    return within.filter((packet) => isLoud(packet)).length * 20;
  }
}

const pause = (ms: number): Int16Array => new Int16Array(ms * 8);

/** Utterance `id` of the script, so long altogether. */
function spoken(id: number, ms: number): Int16Array {
  const code = encodeUtteranceId(id);
  const voice = new Int16Array(Math.max(0, ms * 8 - code.length));
  for (let i = 0; i < voice.length; i++) {
    const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
    voice[i] = 6000 * envelope * Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  return concat(code, voice);
}

type World = { readonly api: Client; readonly peer: SipPeer; readonly agent: string };

async function start(t: TestContext): Promise<World> {
  const peer = await SipPeer.open({ address: '127.0.0.1', port: 9 });
  atEnd(t, () => peer.close());
  const env = { CALLYARD_TRUNK: `sip:127.0.0.1:${peer.port};transport=udp` };
  const server = await startTestApp(t, env, { script: SCRIPT });
  peer.aim(server.sip);
  const api = clientOf(server);
  const body = {
    ...{ name: 'Ann', system_prompt: 'Be kind.', greeting: GREETING },
    ...{ variables: { order: '4711' }, tools: { builtins: ['send_dtmf'] } },
  };
  const { id } = await dataOf<{ id: string }>(201, api('POST', '/api/v1/agents', body));
  return { api, peer, agent: id };
}

/** Calls `number`, whose phone plays its part once it has answered. */
async function call(
  t: TestContext,
  { api, peer, agent }: World,
  number: string,
  play: (callee: Callee) => void,
  body: object = {},
): Promise<{ callee: Callee; id: string; answeredMs: number }> {
  const callee = await Callee.open(t, peer, number);
  const placed = dataOf<{ id: string }>(
    201,
    api('POST', '/v1/phone/calls', { to: number, assistant_id: agent, amd: true, ...body }),
  );
  await callee.answer();
  const answeredMs = performance.now();
  play(callee);
  return { callee, id: (await placed).id, answeredMs };
}

async function recordOf(api: Client, id: string): Promise<{ record: Record; results: Event[] }> {
  const path = `/api/v1/call-records/${id}`;
  const ask = () => dataOf<Record>(200, api('GET', path));
  const isDone = ({ status }: Record): boolean => status === 'ended' || status === 'failed';
  let record = await eventually(ask, isDone);
  for (let i = 0; i < 3 && !isDone(record); i++) record = await eventually(ask, isDone);
  const { events } = await dataOf<{ events: Event[] }>(
    200,
    api('GET', `${path}/events?page_size=100`),
  );
  return { record, results: events.filter(({ type }) => type === 'amd.result') };
}

const voicemail = (world: World, voicemail: object) =>
  dataOf<{ id: string }>(
    201,
    world.api('POST', '/api/v1/agents', {
      ...{ name: 'Bob', system_prompt: 'Be kind.', greeting: GREETING, voicemail },
      variables: { order: '4711' },
    }),
  );

async function answersOfAllKinds(t: TestContext, world: World): Promise<void> {
  const { api } = world;
  const leaves = await voicemail(world, { action: 'message', message: MESSAGE });
  const goesOn = await voicemail(world, { action: 'continue' });
  const machine = (callee: Callee): void =>
    callee.send(pause(300), spoken(2, 3_200), pause(900), tone(1_000, 400), pause(200));

  const person = async (): Promise<void> => {
    const play = (callee: Callee): void => callee.send(pause(200), spoken(1, 600));
    const { callee, id, answeredMs } = await call(t, world, '+15550101', play);
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    assert.equal(callee.endedAtMs, null, 'nobody hangs up on a person');
    assert.ok(callee.soundMs(answeredMs, answeredMs + 1_200) > 0, 'greeted at once');
    await dataOf(200, api('POST', `/v1/phone/calls/${id}/hangup`, {}));
    const { record, results } = await recordOf(api, id);
    assert.equal(record.outcome, 'completed');
    assert.deepEqual(
      results.map(({ data }) => [data['result'], data['cause']]),
      [['human', 'short_greeting']],
    );
    assert.deepEqual(record.metadata.amd, results[0]?.data);
    assert.ok(Number(results[0]?.data['ms']) < 2_500);
  };
  const hangUp = async (): Promise<void> => {
    const { callee, id, answeredMs } = await call(t, world, '+15550102', machine);
    const { record, results } = await recordOf(api, id);
    assert.deepEqual(
      [record.outcome, record.ended_by, record.hangup_reason, record.status],
      ['voicemail', 'agent', 'ai', 'ended'],
    );
    assert.deepEqual(
      results.map(({ data }) => [data['result'], data['cause']]),
      [['machine', 'words']],
    );
    assert.ok((callee.endedAtMs ?? Infinity) - answeredMs < 4_500, 'before the beep');
  };
  const leave = async (): Promise<void> => {
    const body = { assistant_id: leaves.id };
    const { callee, id, answeredMs } = await call(t, world, '+15550103', machine, body);
    const { record } = await recordOf(api, id);
    assert.deepEqual([record.outcome, record.ended_by], ['voicemail', 'agent']);
    const { result, message_left: isLeft } = record.metadata.amd ?? {};
    assert.deepEqual([result, isLeft], ['machine', true]);
    const said = record.messages.filter(({ role }) => role === 'assistant');
    assert.equal(said.at(-1)?.content, 'Please call us back about order 4711.');
    assert.notEqual(said.at(-1)?.interrupted, true);
    assert.equal(said.filter(({ content }) => content === GREETING).length, 0, 'cut short');
    // The machine spoke until 3.5 s and beeped from 4.4 to 4.8 s.
    const beepMs = answeredMs + 4_800;
    assert.ok(callee.soundMs(answeredMs, answeredMs + 3_500) > 0, 'the greeting began');
    assert.equal(callee.soundMs(answeredMs + 4_300, beepMs), 0, 'silent until the beep is over');
    assert.ok(callee.soundMs(beepMs, Infinity) > 500, 'then the message');
  };
  const goOn = async (): Promise<void> => {
    const body = { assistant_id: goesOn.id };
    const { callee, id } = await call(t, world, '+15550104', machine, body);
    await new Promise((resolve) => setTimeout(resolve, 6_500));
    assert.equal(callee.endedAtMs, null);
    await dataOf(200, api('POST', `/v1/phone/calls/${id}/hangup`, {}));
    const { record } = await recordOf(api, id);
    assert.equal(record.outcome, 'voicemail');
    assert.ok(record.messages.some(({ content }) => content.startsWith('A voicemail box has')));
  };
  const fax = async (): Promise<void> => {
    const play = (callee: Callee): void => callee.send(pause(400), tone(2_100, 3_000));
    const { callee, id, answeredMs } = await call(t, world, '+15550105', play);
    const { record, results } = await recordOf(api, id);
    assert.deepEqual([record.outcome, results[0]?.data['result']], ['voicemail', 'fax']);
    assert.ok((callee.endedAtMs ?? Infinity) - answeredMs < 2_500);
  };
  const nobody = async (): Promise<void> => {
    const { callee, id } = await call(t, world, '+15550106', () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 8_800));
    assert.equal(callee.endedAtMs, null);
    await dataOf(200, api('POST', `/v1/phone/calls/${id}/hangup`, {}));
    const { record } = await recordOf(api, id);
    const { result, cause } = record.metadata.amd ?? {};
    assert.deepEqual([record.outcome, result, cause], ['completed', 'no_speech', 'silence']);
  };
  const unasked = async (): Promise<void> => {
    const { callee, id } = await call(t, world, '+15550107', machine, { amd: false });
    await new Promise((resolve) => setTimeout(resolve, 5_500));
    assert.equal(callee.endedAtMs, null);
    await dataOf(200, api('POST', `/v1/phone/calls/${id}/hangup`, {}));
    const { record, results } = await recordOf(api, id);
    assert.deepEqual([record.outcome, results], ['completed', []]);
    assert.equal(record.metadata.amd, undefined);
  };
  await Promise.all([person(), hangUp(), leave(), goOn(), fax(), nobody(), unasked()]);
}

async function campaignMeetsMachine(t: TestContext, world: World): Promise<void> {
  const { api, peer } = world;
  const { id: agent } = await voicemail(world, { action: 'hang_up', message: MESSAGE });
  const number = '+15550109';
  const windows = [{ weekdays: [1, 2, 3, 4, 5, 6, 7], start: '00:00', end: '24:00' }];
  const { id } = await dataOf<{ id: string }>(
    201,
    api('POST', '/api/v1/campaigns', {
      ...{ name: 'Orders', agent_id: agent, schedule: { windows } },
      settings: {
        ...{ cps: 20, voicemail: 'message', max_attempts: 2 },
        ...{ retry_on: ['voicemail'], retry_delay_s: 1 },
      },
    }),
  );
  const campaign = `/api/v1/campaigns/${id}`;
  await dataOf(201, api('POST', `${campaign}/targets`, { targets: [{ phone: number }] }));
  await dataOf(200, api('POST', `${campaign}/start`, {}));
  for (let attempt = 1; attempt <= 2; attempt++) {
    const callee = await Callee.open(t, peer, number);
    await callee.answer();
    callee.send(pause(200), spoken(2, 1_500), pause(300), tone(440, 300));
    await eventually(
      () => Promise.resolve(callee.endedAtMs),
      (endedAtMs) => endedAtMs !== null,
    );
    await eventually(
      () => Promise.resolve(callee.endedAtMs),
      (endedAtMs) => endedAtMs !== null,
    );
    assert.ok(callee.endedAtMs !== null);
  }
  type Progress = { status: string; counts: { done: number; attempts: number } };
  const { status, counts } = await eventually(
    () => dataOf<Progress>(200, api('GET', campaign)),
    (found) => found.status === 'completed',
  );
  assert.deepEqual([status, counts.done, counts.attempts], ['completed', 1, 2]);
  const { records } = await dataOf<{ records: Record[] }>(
    200,
    api('GET', `/api/v1/call-records?campaign_id=${id}`),
  );
  assert.equal(records.length, 2);
  for (const { id: callId } of records) {
    const { record } = await recordOf(api, callId);
    assert.equal(record.outcome, 'voicemail');
    assert.equal(record.metadata.amd?.['message_left'], true);
  }
}

async function menuByKeys(t: TestContext, world: World): Promise<void> {
  const { callee, id } = await call(t, world, '+15550108', (phone) => {
    phone.onKey = () => phone.send(pause(300), spoken(4, 900));
    phone.send(pause(300), spoken(3, 2_500));
  });
  await eventually(
    () => Promise.resolve(callee.keys),
    ({ length }) => length > 0,
  );
  await eventually(
    () => Promise.resolve(callee.keys),
    ({ length }) => length > 0,
  );
  const path = `/api/call/${id}/conversation`;
  type Said = { messages: Record['messages'] };
  const isAsked = ({ messages }: Said): boolean =>
    messages.some(({ content }) => content === 'I have a question.');
  const said = await eventually(() => dataOf<Said>(200, world.api('GET', path)), isAsked);
  assert.ok(isAsked(said), JSON.stringify(said));
  assert.deepEqual(callee.keys, ['2']);
  await dataOf(200, world.api('POST', `/v1/phone/calls/${id}/hangup`, {}));
  const { record, results } = await recordOf(world.api, id);
  assert.deepEqual(
    [record.outcome, results.map(({ data }) => data['result'])],
    ['completed', ['ivr']],
  );
}

test('who answers, and what is done about it', { concurrency: true }, async (t) => {
  const world = await start(t);
  await Promise.all([
    t.test('a person, a voicemail box, a fax and nobody', (each) => answersOfAllKinds(each, world)),
    t.test('a menu is heard out and gone through by keys', (each) => menuByKeys(each, world)),
    t.test('a campaign leaves its message, and calls again where it is to', (each) =>
      campaignMeetsMachine(each, world),
    ),
  ]);
});
