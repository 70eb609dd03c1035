/** Turns of a conversation over real SIP and RTP: from the caller's last packet of speech to the agent's first. */
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { trimSilence } from '#src/demo/voice-meter.ts';
import { speech } from '../test/interop/tools/script.ts';
import { concatPcm } from '../test/interop/tools/wav.ts';
import type { Callyard } from '../test/interop/tools/server.ts';
import { NODE, randomFrom, SCRIPTED, startTalkServer } from './_talk-server.ts';

const CALLERS = 4;
const ROUNDS = 2;
const TURNS = 14;
const REPLY = 'Very well, noted.';

export type MeasuredTurn = {
  /** On the wire, by the caller's own capture. */
  readonly wireMs: number;
  /** By the server's account of the same turn. */
  readonly ownMs: number;
};

export async function measureTurns(folder: string, seed: number): Promise<MeasuredTurn[]> {
  const utterances = Object.fromEntries(
    Array.from({ length: TURNS }, (_, id) => [String(id), `Please note number ${id}.`]),
  );
  const script = { greeting: 'Hello.', utterances, defaultReply: REPLY };
  const { endpointMs } = SCRIPTED;
  const turn = { endpoint_min_ms: endpointMs, endpoint_max_ms: endpointMs };
  await using server = await startTalkServer(folder, 'latency', script, { turn });
  const turns: MeasuredTurn[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const callers = Array.from({ length: CALLERS }, (_, index) =>
      talk(randomFrom(seed * 1000 + round * CALLERS + index)),
    );
    const wires = (await Promise.all(callers)).toSorted((a, b) => a.callId.localeCompare(b.callId));
    for (const { callId, wireMs } of wires) {
      const own = await ownLatencies(server, callId);
      if (own.length !== wireMs.length) {
        throw new Error(`${wireMs.length} turns heard, ${own.length} in the record`);
      }
      for (const [index, ms] of wireMs.entries())
        turns.push({ wireMs: ms, ownMs: own[index] ?? 0 });
    }
  }
  return turns;
}

type Talked = { readonly callId: string; readonly wireMs: readonly number[] };

async function talk(random: () => number): Promise<Talked> {
  await sleep(random() * 1000);
  const call = await placeCall({ target: `sip:8001@${NODE}`, codecs: ['PCMA'] });
  try {
    await call.hearSilence(10_000, 600);
    const wireMs: number[] = [];
    for (let id = 0; id < TURNS; id++) {
      await sleep(200 + random() * 400);
      wireMs.push(await oneTurn(call, id, random));
      await call.hearSilence(10_000, 500);
    }
    return { callId: call.sip.callId, wireMs };
  } finally {
    await call.hangUp();
  }
}

async function oneTurn(call: PhoneCall, id: number, random: () => number): Promise<number> {
  const spokenMs = 400 + Math.floor(random() * 900);
  const words = trimSilence(
    concatPcm(encodeUtteranceId(id), speech.subarray(0, spokenMs * 8)),
    160,
  );
  const { lastMs } = await call.say(words);
  return (await call.hearSpeech(lastMs, 5_000)) - lastMs;
}

async function ownLatencies(server: Callyard, sipCallId: string): Promise<number[]> {
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    for (const id of await server.recordIds()) {
      const record = await server.record(id);
      if (record.sip_call_id !== sipCallId || record.status !== 'ended') continue;
      return record.messages.flatMap(({ latency_ms: ms }) => (ms === undefined ? [] : [ms]));
    }
    if (performance.now() > deadlineMs) throw new Error('a call left no record');
    await sleep(100);
  }
}
