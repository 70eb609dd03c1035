/** Phone calls of the whole server with a realtime model: greeted, answered, cut in on, with tools, through faults. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CallEvent, Latency, Message } from '#lib/call-events.ts';
import { systemClock } from '#lib/clock.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { numberAt, textAt, pick } from '#providers/realtime-json.ts';
import type { RealtimeSim, RealtimeSimOptions } from '#providers/sim/openai-realtime-kit.ts';
import { startOpenAiRealtimeSim } from '#providers/sim/openai-realtime.ts';
import { FaultPlan } from '#providers/sim/vendor-server.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { clientOf, dataOf, type Client } from './_answering.ts';
import { eventually, makeDataDir, SCRIPT, startTestApp, type TestApp } from './_app.ts';
import { loopbackCertificate } from './_certificate.ts';
import { atEnd } from './_store.ts';
import { startToolServer } from './_tool-server.ts';

const WORDS = { '1': 'When do you open?', '2': 'Stop please.', '3': 'Look it up.' };
const GREETING = 'Good morning, this is the model.';
const LONG = 'We open at nine on every day of the week but for Sunday alone.';
const ANSWERS: Readonly<Record<string, string>> = {
  'When do you open?': LONG,
  'Stop please.': 'I have stopped.',
};
const EXAMPLE = fileURLToPath(new URL('../../examples/model-service.mjs', import.meta.url));

type World = {
  readonly server: TestApp;
  readonly api: Client;
  readonly sim: RealtimeSim;
  readonly faults: FaultPlan;
  /** An account at the simulator. */
  account(options?: object, key?: string): Promise<string>;
};

async function start(t: TestContext, more: Partial<RealtimeSimOptions> = {}): Promise<World> {
  const faults = new FaultPlan();
  const answer: RealtimeSimOptions['answer'] = ({ said, toolResult, tools }) => {
    if (toolResult !== null) return { text: `It says ${toolResult.replace(/\W+/g, ' ').trim()}.` };
    if (said === 'Look it up.' && tools.includes('lookup'))
      return { text: 'One moment.', calls: [{ name: 'lookup', arguments: { id: 41 } }] };
    return { text: ANSWERS[said] ?? 'I am here.' };
  };
  const sim = await startOpenAiRealtimeSim({
    ...{ key: 'made-up', clock: systemClock, words: WORDS, answer, faults, ...more },
  });
  atEnd(t, () => sim.close());
  const env = { CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8' };
  const script = { ...SCRIPT, utterances: WORDS, defaultReply: 'The cascade says this.' };
  const server = await startTestApp(t, env, { script });
  const api = clientOf(server);
  return {
    ...{ server, api, sim, faults },
    async account(options = {}, key = 'made-up') {
      const body = {
        ...{ kind: 'realtime', vendor: 'openai', name: `model ${Math.random()}` },
        credentials: { api_key: key },
        options: { realtime_url: `${sim.server.wsUrl}/v1/realtime`, ...options },
      };
      return (await dataOf<{ id: string }>(201, api('POST', '/api/v1/provider-configs', body))).id;
    },
  };
}

async function dial(
  t: TestContext,
  world: Pick<World, 'server' | 'api'> & { readonly vendor?: string },
  configId: string,
  more: object = {},
): Promise<PhoneCall> {
  const { server, api } = world;
  const agent = {
    ...{ name: 'Model', system_prompt: 'Be kind.', greeting: GREETING, mode: 'realtime' },
    ...{ realtime: { vendor: world.vendor ?? 'openai', config_id: configId }, ...more },
  };
  const made = await dataOf<{ id: string }>(201, api('POST', '/api/v1/agents', agent));
  const binding = { kind: 'default', agent_id: made.id };
  await dataOf(200, api('PUT', '/api/v1/agent-bindings', binding));
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  return phone;
}

/** The code of an utterance, then something like speech. */
function words(id: number): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + 500 * 8);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++) {
    const swell = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
    pcm[i] = 6000 * swell * Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  return pcm;
}

const quiet = (ms: number): Int16Array => new Int16Array(ms * 8);

/** Says it, listens without a word until the agent has begun and ended. Returns when its answer began. */
async function talk(phone: PhoneCall, id: number): Promise<number> {
  const { lastMs } = await phone.say(words(id));
  const listening = phone.say(quiet(6_500));
  const firstMs = await phone.hearSpeech(lastMs, 8_000);
  await phone.hearSilence(12_000);
  await listening;
  return firstMs - lastMs;
}

type Whole = {
  readonly messages: Message[];
  readonly outcome: string;
  readonly ended_by: string;
  readonly recording_status: string;
  readonly latency: Latency | null;
};

async function recordOf(api: Client, phone: PhoneCall) {
  await phone.hangUp();
  type Row = { readonly id: string; readonly status: string };
  const { records } = await eventually(
    () => dataOf<{ records: Row[] }>(200, api('GET', '/api/v1/call-records')),
    (list) => ['ended', 'failed'].includes(list.records[0]?.status ?? ''),
  );
  const id = records[0]?.id ?? 'none';
  const path = `/api/v1/call-records/${id}`;
  const record = await eventually(
    () => dataOf<Whole>(200, api('GET', path)),
    ({ recording_status: status }) => status !== 'active',
  );
  const { events } = await dataOf<{ events: CallEvent[] }>(
    200,
    api('GET', `${path}/events?page_size=100`),
  );
  const said = record.messages.map(({ role, content }) => `${role}: ${content}`);
  return { record, said, events };
}

test('greeted, answered, cut in on: heard as it was, told to the model, kept in the record', async (t) => {
  const tls = loopbackCertificate(makeDataDir(t));
  if (tls === null) return t.skip('no openssl');
  const world = await start(t, { tls });
  const phone = await dial(t, world, await world.account({ ca: tls.cert }));
  const begun = phone.say(quiet(3_000));
  await phone.hearSpeech(0, 2_000);
  await begun;
  await talk(phone, 1);
  const { lastMs } = await phone.say(words(1));
  await phone.hearSpeech(lastMs, 8_000);
  await phone.say(quiet(1_200));
  const { firstMs } = await phone.say(words(2));
  const stop = phone.meter.spans.findLast((span) => span.startMs < firstMs);
  assert.ok((stop?.lastMs ?? Infinity) - firstMs < 250, 'quiet within 250 ms of the first word');
  await phone.say(quiet(1_500));
  await phone.hearSilence(8_000);
  const { record, said, events } = await recordOf(world.api, phone);
  const cut = record.messages[4];
  assert.deepEqual(
    said.filter((_, i) => i !== 4),
    [
      `assistant: ${GREETING}`,
      'user: When do you open?',
      `assistant: ${LONG}`,
      'user: When do you open?',
      'user: Stop please.',
      'assistant: I have stopped.',
    ],
  );
  assert.equal(cut?.interrupted, true);
  assert.ok(cut.content.length > 10 && LONG.startsWith(cut.content));
  assert.deepEqual([record.outcome, record.ended_by], ['completed', 'caller']);
  assert.equal(record.recording_status, 'ready');

  // 200 ms a word: what is in the transcript is what the wire had, and what the model was told.
  const told = events.find(({ type }) => type === 'user-interrupted')?.data as { heard_ms: number };
  const heardWords = cut.content.split(' ').length;
  assert.ok(Math.abs(told.heard_ms / 200 - heardWords) <= 1, `${told.heard_ms} ${cut.content}`);
  const cuts = world.sim.seen.filter(({ event }) => textAt(event, 'type').endsWith('.truncate'));
  assert.equal(cuts.length, 1);
  assert.ok(Math.abs((numberAt(cuts[0]?.event, 'audio_end_ms') ?? 0) - told.heard_ms) <= 1);

  // The very bytes of the line, and nothing that the vendor forbids.
  const update = world.sim.seen.find(({ event }) => event['type'] === 'session.update');
  const input = pick(update?.event, 'session', 'audio', 'input', 'format');
  assert.deepEqual(input, { type: phone.codec === 'PCMA' ? 'audio/pcma' : 'audio/pcmu' });
  assert.deepEqual(world.sim.violations, []);

  const { latency } = record;
  assert.equal(latency?.turns, 3);
  const parts = Object.values(latency.parts_ms).reduce((sum, part) => sum + part.max, 0);
  assert.ok(latency.mouth_to_ear_ms.max <= parts + 1 && latency.parts_ms.endpointing.p50 > 300);
  const today = new Date().toISOString().slice(0, 10);
  const usage = await eventually(
    () =>
      dataOf<Record<string, unknown>>(
        200,
        world.api('GET', `/api/v1/usage?from=${today}&to=${today}`),
      ),
    (answer) => /"realtime_seconds":"?[1-9]/.test(JSON.stringify(answer)),
  );
  assert.match(JSON.stringify(usage), /"realtime_seconds":"?[1-9]/);
});

test('a tool is asked for once, also when the caller cuts in while it works', async (t) => {
  const world = await start(t);
  const tools = await startToolServer(t, () => ({ delayMs: 1_500, body: '{"table":"seven"}' }));
  const lookup = {
    ...{ name: 'lookup', description: 'Looks it up', url: tools.url, timeout_ms: 5_000 },
    parameters: { type: 'object', properties: { id: { type: 'number' } } },
  };
  const phone = await dial(t, world, await world.account(), { functions: [lookup] });
  await phone.say(quiet(3_500));
  const { lastMs } = await phone.say(words(3));
  await phone.hearSpeech(lastMs, 5_000);
  await phone.say(quiet(7_000));
  const first = phone.say(words(3));
  await first;
  await tools.request(({ body }) => body.id !== tools.requests[0]?.body.id);
  await phone.say(words(2));
  await phone.say(quiet(6_000));
  const { said } = await recordOf(world.api, phone);
  assert.equal(tools.requests.length, 2, 'once for each time it was wanted');
  assert.deepEqual(said.slice(0, 6), [
    `assistant: ${GREETING}`,
    'user: Look it up.',
    'assistant: ',
    'function: {"table":"seven"}',
    'assistant: One moment. It says table seven.',
    'user: Look it up.',
  ]);
  assert.ok(said.includes('user: Stop please.'));
  assert.equal(said.filter((line) => line.startsWith('function: ')).length, 2);
  assert.deepEqual(world.sim.violations, []);
});

test('a session that the vendor recycles in mid-sentence is followed by another, which knows what was said', async (t) => {
  const world = await start(t);
  world.faults.add({ kind: 'recycle' });
  const phone = await dial(t, world, await world.account());
  await phone.say(quiet(4_000));
  await talk(phone, 1);
  const { record, said } = await recordOf(world.api, phone);
  assert.equal(world.sim.server.accepted, 2);
  assert.deepEqual(said.slice(-2), ['user: When do you open?', `assistant: ${LONG}`]);
  assert.equal(record.outcome, 'completed');
  assert.deepEqual(world.sim.violations, []);
});

test('a model that cannot be opened: the cascade of the same agent talks', async (t) => {
  const world = await start(t);
  const phone = await dial(t, world, await world.account({}, 'wrong'));
  await phone.say(quiet(4_000));
  await talk(phone, 1);
  const { said, events } = await recordOf(world.api, phone);
  assert.deepEqual(said, [
    `assistant: ${GREETING}`,
    'user: When do you open?',
    'assistant: The cascade says this.',
  ]);
  const fault = events.find(({ type }) => type === 'call-error')?.data as { message: string };
  assert.match(fault.message, /credentials\.api_key/);
});

test('the example of the guide for a model of one’s own', async (t) => {
  const child = spawn(process.execPath, [EXAMPLE], {
    env: { PATH: process.env['PATH'], PORT: '0', MODEL_KEY: 'made-up' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  atEnd(t, () => {
    child.kill('SIGKILL');
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(/listening on (\d+)/.exec(line.toString())?.[1]);
  const server = await startTestApp(t);
  const api = clientOf(server);
  const body = {
    ...{ kind: 'realtime', vendor: 'model-service', name: 'mine' },
    ...{ credentials: { api_key: 'made-up' }, options: { url: `ws://127.0.0.1:${port}` } },
  };
  const { id } = await dataOf<{ id: string }>(201, api('POST', '/api/v1/provider-configs', body));
  const phone = await dial(t, { server, api, vendor: 'model-service' }, id);
  await phone.say(quiet(3_000));
  await talk(phone, 1);
  const { lastMs } = await phone.say(words(1));
  await phone.hearSpeech(lastMs, 5_000);
  const isSpeaking = phone.say(quiet(300));
  await isSpeaking;
  await phone.say(words(2));
  await sleep(300);
  await phone.say(quiet(4_000));
  const { said, record } = await recordOf(api, phone);
  assert.equal(said[0], `assistant: ${GREETING}`);
  assert.match(said[1] ?? '', /^user: \d+ ms of speech$/);
  assert.match(said[2] ?? '', /^assistant: You spoke for \d+ milliseconds$/);
  const cut = record.messages[4];
  assert.equal(cut?.interrupted, true);
  assert.ok('You spoke for'.startsWith(cut.content.slice(0, 13)), cut.content);
  assert.equal(record.outcome, 'completed');
});
