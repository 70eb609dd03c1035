/** What the built-in caller does in its call: listens, speaks English and Chinese, interrupts once, listens again. */
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { PhoneCall } from './phone.ts';
import type { MeasuredTurn } from './waterfall.ts';

const GREETING_TIMEOUT_MS = 5000;
const REPLY_TIMEOUT_MS = 15_000;
const SPEECH_LIMIT_MS = 45_000;
/** How long the agent may speak before it is interrupted. */
const INTERRUPT_AFTER_MS = 1200;
/** It is interrupted in mid-speech: falling silent in a pause of its own would prove nothing. */
const SUSTAINED_MS = 160;

export type Speech = {
  readonly english: Int16Array;
  readonly chinese: Int16Array;
  readonly interruption: Int16Array;
};

export type ScriptResult = {
  readonly turns: readonly MeasuredTurn[];
  /** First packet of the interruption to the agent's last packet of speech; null when it did not come to that. */
  readonly bargeInMs: number | null;
  /** What cut the script short; null when it ran to its end. */
  readonly fault: AppError | null;
};

/** Plays the script over an answered call. Never rejects for what the other side does: that is in `fault`. */
export async function runScript(call: PhoneCall, speech: Speech): Promise<ScriptResult> {
  const turns: MeasuredTurn[] = [];
  let bargeInMs: number | null = null;
  let fault: AppError | null = null;
  try {
    const ackMs = call.sip.times.ackMs ?? 0;
    const greetedMs = await call.hearSpeech(ackMs, GREETING_TIMEOUT_MS);
    turns.push({ label: 'greeting (from ACK)', wireMs: greetedMs - ackMs });
    await call.hearSilence(SPEECH_LIMIT_MS);
    await askAndListen(call, turns, 'turn 1 (English)', speech.english);
    await call.hearSilence(SPEECH_LIMIT_MS);
    const startedMs = await askAndListen(call, turns, 'turn 2 (Chinese)', speech.chinese);
    bargeInMs = await interrupt(call, turns, startedMs, speech.interruption);
    await call.hearSilence(SPEECH_LIMIT_MS);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    fault = error;
  }
  return { turns, bargeInMs, fault };
}

/** Speaks and waits for the reply; gives the arrival of its first speech packet. */
async function askAndListen(
  call: PhoneCall,
  turns: MeasuredTurn[],
  label: string,
  pcm: Int16Array,
): Promise<number> {
  const said = await call.say(pcm);
  return listen(call, turns, label, said.lastMs);
}

async function listen(
  call: PhoneCall,
  turns: MeasuredTurn[],
  label: string,
  sinceMs: number,
): Promise<number> {
  let heardMs: number;
  try {
    heardMs = await call.hearSpeech(sinceMs, REPLY_TIMEOUT_MS);
  } catch (error) {
    turns.push({ label, wireMs: null });
    throw error;
  }
  turns.push({ label, wireMs: heardMs - sinceMs });
  return heardMs;
}

async function interrupt(
  call: PhoneCall,
  turns: MeasuredTurn[],
  startedMs: number,
  pcm: Int16Array,
): Promise<number | null> {
  await delay(INTERRUPT_AFTER_MS);
  await call.hearSustained(SUSTAINED_MS, REPLY_TIMEOUT_MS);
  const wasSpeaking = call.meter.spans.at(-1)?.startMs === startedMs;
  const said = await call.say(pcm);
  const lastMs = call.meter.lastOfSpanAt(said.firstMs) ?? said.firstMs;
  await listen(call, turns, 'turn 3 (interruption)', said.lastMs);
  return wasSpeaking && lastMs >= said.firstMs ? lastMs - said.firstMs : null;
}
