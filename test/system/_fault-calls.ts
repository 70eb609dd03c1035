/** One phone call whose vendors fail: what the caller heard, by his own ears, and what the record has. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallEvent, Message } from '#lib/call-events.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { trimSilence } from '#src/demo/voice-meter.ts';
import { dataOf, type Client } from './_answering.ts';
import { eventually, type TestApp } from './_app.ts';
import type { FaultKind, FaultVendor } from './_fault-vendors.ts';

export type FaultCall = {
  /** From the last packet of the caller's words to the first sound of the agent, for each turn. */
  readonly deadAirMs: readonly number[];
  /** The longest silence within an answer. */
  readonly longestGapMs: number;
  /** By how much the caller's own packets were late at worst: what nobody could have heard well says nothing. */
  readonly callerLateMs: number;
  readonly messages: readonly Message[];
  readonly outcome: string | null;
  readonly endedBy: string | null;
  readonly errors: readonly { readonly code: string; readonly message: string }[];
};

export type Placed = { readonly phone: PhoneCall; readonly agentId: string };

/** An account at the vendor, as the API makes one. */
export async function addAccount(
  api: Client,
  kind: FaultKind,
  { vendor, credentials, options }: FaultVendor,
  name: string,
  prices?: object,
): Promise<string> {
  const body = { kind, vendor, name, credentials, options, ...(prices && { prices }) };
  return (await dataOf<{ id: string }>(201, api('POST', '/api/v1/provider-configs', body))).id;
}

/** A call to an agent of these settings, at a number of its own, once it is answered. `line`: 0 to 99. */
export async function callAgent(
  server: TestApp,
  api: Client,
  agent: object,
  line: number,
): Promise<Placed> {
  const made = await dataOf<{ id: string }>(201, api('POST', '/api/v1/agents', agent));
  const number = `+155555501${String(line).padStart(2, '0')}`;
  const binding = { kind: 'number', value: number, agent_id: made.id };
  await dataOf(200, api('PUT', '/api/v1/agent-bindings', binding));
  return {
    phone: await placeCall({ target: server.target.replace('8001', number) }),
    agentId: made.id,
  };
}

type Heard = Pick<FaultCall, 'deadAirMs' | 'longestGapMs' | 'callerLateMs'>;

/** Says the utterances one after the other, each once the answer to the one before is over. */
export async function talk(
  phone: PhoneCall,
  utterances: readonly number[],
  before: (turn: number) => void,
): Promise<Heard> {
  const deadAirMs: number[] = [];
  let longestGapMs = 0;
  let callerLateMs = 0;
  await phone.hearSilence(15_000, 700);
  for (const [turn, id] of utterances.entries()) {
    before(turn);
    const { firstMs: saidMs, lastMs } = await phone.say(words(id));
    const times = phone.sent.flatMap(({ atMs }) => (atMs >= saidMs && atMs <= lastMs ? atMs : []));
    for (const [at, atMs] of times.slice(1).entries())
      callerLateMs = Math.max(callerLateMs, atMs - (times[at] ?? atMs) - 20);
    const firstMs = await phone.hearSpeech(lastMs, 15_000);
    deadAirMs.push(firstMs - lastMs);
    // Longer than any silence that there may be inside of an answer.
    await phone.hearSilence(20_000, 1_600);
    const spans = phone.meter.spans.filter(({ startMs }) => startMs >= firstMs);
    for (const [at, { lastMs: endMs }] of spans.slice(0, -1).entries())
      longestGapMs = Math.max(longestGapMs, (spans[at + 1]?.startMs ?? endMs) - endMs);
  }
  return { deadAirMs, longestGapMs, callerLateMs };
}

/** What is left of it once it is over. */
export async function recordOf(
  api: Client,
  agentId: string,
): Promise<Omit<FaultCall, keyof Heard>> {
  type Row = { id: string; status: string };
  type Whole = { messages: Message[]; outcome: string | null; ended_by: string | null };
  const { records } = await eventually(
    () => dataOf<{ records: Row[] }>(200, api('GET', `/api/v1/call-records?agent_id=${agentId}`)),
    (list) => list.records[0]?.status === 'ended',
  );
  if (records[0]?.status !== 'ended') throw new Error(`no record: ${JSON.stringify(records)}`);
  const path = `/api/v1/call-records/${records[0].id}`;
  const { messages, outcome, ended_by: endedBy } = await dataOf<Whole>(200, api('GET', path));
  const { events } = await dataOf<{ events: CallEvent[] }>(
    200,
    api('GET', `${path}/events?page_size=100`),
  );
  const errors = events.flatMap(({ type, data }) =>
    type === 'call-error' && 'code' in data ? [data as FaultCall['errors'][number]] : [],
  );
  return { messages, outcome, endedBy, errors };
}

/** The code of an utterance, then half a second of something like speech. */
function words(id: number): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + 500 * 8);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++) {
    const swell = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
    pcm[i] = 6000 * swell * Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  return trimSilence(pcm, 160);
}

/** `work` for each item, `atOnce` of them at a time, begun a little apart. */
export async function inTurns<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const left = [...items];
  const one = async (at: number): Promise<void> => {
    await sleep(at * 60);
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, (_, at) => one(at)));
}
