/** Calls to a server whose vendors fail now and then: what each turn came to, on the wire and in the record. */
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { trimSilence } from '#src/demo/voice-meter.ts';
import { startOpenAiSim, type OpenAiSim } from '#providers/sim/openai-http.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { startVolcSim, SIM_APP_ID, SIM_TOKEN, type VolcSim } from '#providers/sim/volcengine.ts';
import { speech } from '../test/interop/tools/script.ts';
import { concatPcm } from '../test/interop/tools/wav.ts';
import type { Callyard } from '../test/interop/tools/server.ts';
import { NODE } from './_talk-server.ts';

const REPLY = 'Very well, that is noted and will be done.';
/** Utterance ids that there are words for. */
const UTTERANCES = 40;

export const SCRIPT = {
  greeting: 'Hello.',
  utterances: Object.fromEntries(
    Array.from({ length: UTTERANCES }, (_, id) => [String(id), wordsOf(id)]),
  ),
  defaultReply: REPLY,
  delays: { sttMs: 150, llmMs: 200, ttsMs: 80 },
};

/** What a vendor does instead of its work, in one turn of ten. */
const FAULTS: readonly VendorFault[] = [
  { kind: 'cut' },
  { kind: 'refuse', status: 429 },
  { kind: 'refuse', status: 503 },
  { kind: 'hang' },
  { kind: 'half_open' },
  { kind: 'fail_midway' },
  { kind: 'junk' },
  { kind: 'slow', ms: 4_000 },
];

export type FaultTurn = {
  readonly hasFault: boolean;
  /** From the caller's last packet of speech to the agent's next sound; null: there was none. */
  readonly deadAirMs: number | null;
  /** The record has his words, and an answer to them. */
  readonly isWhole: boolean;
};

export type FaultedCall = { readonly turns: readonly FaultTurn[]; readonly isLost: boolean };

export type FaultVendors = {
  readonly models: OpenAiSim;
  readonly ears: VolcSim;
  readonly voices: VolcSim;
  /** Faults that were planted, and that nobody has met (yet). */
  readonly planted: { count: number };
  left(): number;
  close(): Promise<void>;
};

function wordsOf(id: number): string {
  return `Please note number ${id}.`;
}

export async function startFaultVendors(): Promise<FaultVendors> {
  const words = SCRIPT.utterances;
  const models = await startOpenAiSim({ vendor: 'local', apiKey: 'made-up-key', reply: REPLY });
  const ears = await startVolcSim({ words });
  const voices = await startVolcSim({});
  const close = async (): Promise<void> => {
    for (const each of [models, ears, voices]) await each.close();
  };
  const left = (): number =>
    [models, ears, voices].reduce((sum, { faults }) => {
      let count = 0;
      while (faults.take() !== null) count += 1;
      return sum + count;
    }, 0);
  return { models, ears, voices, planted: { count: 0 }, left, close };
}

/** An agent on all three, with the scripted vendor behind each. */
export async function useVendors(server: Callyard, vendors: FaultVendors): Promise<void> {
  const add = async (kind: string, vendor: string, credentials: object, options: object) => {
    const body = { kind, vendor, name: `bench ${kind}`, credentials, options };
    const { id } = await server.post<{ id: string }>('/api/v1/provider-configs', body);
    return { vendor, config_id: id, fallback: [{ vendor: 'sim' }] };
  };
  const keys = { app_id: SIM_APP_ID, access_token: SIM_TOKEN };
  const { models, ears, voices } = vendors;
  const agent = {
    ...{ name: 'Faults', system_prompt: 'Be brief.', greeting: 'Hello.' },
    stt: await add('stt', 'volcengine', keys, {
      stt_url: `${ears.server.wsUrl}/api/v3/sauc/bigmodel_async`,
    }),
    llm: await add(
      'llm',
      'openai',
      { api_key: 'made-up-key' },
      { base_url: models.baseUrl, model: 'm' },
    ),
    tts: await add('tts', 'volcengine', keys, {
      tts_url: `${voices.server.wsUrl}/api/v3/tts/bidirection`,
    }),
  };
  const { id } = await server.post<{ id: string }>('/api/v1/agents', agent);
  const response = await fetch(`${server.apiUrl}/api/v1/agent-bindings`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'default', agent_id: id }),
  });
  if (!response.ok) throw new Error(`the binding: ${response.status} ${await response.text()}`);
}

/** A call of so many turns; one of ten has a fault in store for whoever asks next. Never rejects. */
export async function faultedCall(
  server: Callyard,
  vendors: FaultVendors,
  count: number,
  random: () => number,
): Promise<FaultedCall> {
  await sleep(random() * 1_500);
  const heard: { hasFault: boolean; deadAirMs: number | null }[] = [];
  const call = await placeCall({ target: `sip:8001@${NODE}`, codecs: ['PCMA'] });
  let isLost = false;
  try {
    await call.hearSilence(10_000, 600);
    for (let turn = 0; turn < count; turn++) {
      const hasFault = random() < 0.1;
      if (hasFault) plant(vendors, random);
      heard.push({ hasFault, deadAirMs: await oneTurn(call, turn % UTTERANCES, random) });
    }
  } catch (error) {
    isLost = true;
    process.stderr.write(`faults: a call was lost: ${String(error)}\n`);
  } finally {
    await call.hangUp();
  }
  const messages = await messagesOf(server, call.sip.callId);
  const turns = heard.map((each, turn) => ({ ...each, isWhole: isAnswered(messages, turn) }));
  return { turns, isLost };
}

function plant({ models, ears, voices, planted }: FaultVendors, random: () => number): void {
  planted.count += 1;
  const fault = FAULTS[Math.floor(random() * FAULTS.length)] as VendorFault;
  const which = random();
  if (which < 0.5) models.faults.add(fault);
  else if (which < 0.8) voices.faults.add(fault);
  // A recogniser is one connection for all of a call: it is cut, and what comes next has the fault.
  else {
    ears.faults.add(fault);
    if (random() < 0.5) ears.cutAll();
  }
}

async function oneTurn(call: PhoneCall, id: number, random: () => number): Promise<number | null> {
  await sleep(200 + random() * 400);
  const spokenMs = 400 + Math.floor(random() * 700);
  const words = trimSilence(
    concatPcm(encodeUtteranceId(id), speech.subarray(0, spokenMs * 8)),
    160,
  );
  const { lastMs } = await call.say(words);
  const heard = await call.hearSpeech(lastMs, 9_000).catch((error: unknown) => {
    if (call.sip.isOver) throw error;
    return null;
  });
  // Longer than any silence within an answer that is put together again.
  await call.hearSilence(15_000, 1_200);
  return heard === null ? null : heard - lastMs;
}

type Told = { readonly role: string; readonly content: string };

async function messagesOf(server: Callyard, sipCallId: string): Promise<readonly Told[]> {
  const deadlineMs = performance.now() + 15_000;
  for (;;) {
    for (const id of await server.recordIds()) {
      const record = await server.record(id);
      if (record.sip_call_id === sipCallId && record.status === 'ended') return record.messages;
    }
    if (performance.now() > deadlineMs) throw new Error('a call left no record');
    await sleep(200);
  }
}

/** His words once, and the whole answer right behind them, whatever was said to bridge the time. */
function isAnswered(messages: readonly Told[], turn: number): boolean {
  const content = wordsOf(turn % UTTERANCES);
  const found = messages.flatMap((each, at) =>
    each.role === 'user' && each.content === content ? [at] : [],
  );
  const [at] = found;
  const next = at === undefined ? undefined : messages[at + 1];
  return found.length === 1 && next?.role === 'assistant' && next.content.endsWith(REPLY);
}
