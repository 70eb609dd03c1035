/** Sounds over the agent's words: real interruptions, backchannels, noise; what the agent does, on the wire. */
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { rmsOf, trimSilence } from '#src/demo/voice-meter.ts';
import { speech } from '../test/interop/tools/script.ts';
import { concatPcm } from '../test/interop/tools/wav.ts';
import { decodeG711 } from '#src/demo/g711.ts';
import type { CallEvent } from '#lib/call-events.ts';
import type { Callyard } from '../test/interop/tools/server.ts';
import { CONFIRM_MS, NODE, randomFrom, startTalkServer } from './_talk-server.ts';
import { noise, NOISES, type Noise } from './_talk-noise.ts';

const AT_ONCE = 4;
const EACH = 12;
const WORD_MS = 200;
const SOUND_RMS = 260;
/** A word ends in 20 ms of silence; this much is an end. */
const END_MS = 150;
/** Words of the greeting: one tone each. */
const GREETINGS = {
  en: Array.from({ length: 60 }, (_, n) => `word${String.fromCharCode(97 + (n % 26))}`).join(' '),
  zh: '本公司的服务时间是每天早上九点到晚上八点如果您有任何问题都可以随时打电话给我们我们会尽快为您处理谢谢您的来电请问有什么可以帮您',
} as const;

export type Kind = 'interruption' | 'backchannel' | 'noise';

export type Outcome = {
  readonly kind: Kind;
  readonly what: string;
  readonly language: 'zh' | 'en';
  /** The utterance was given up. */
  readonly stopped: boolean;
  /** First packet of the caller's sound to the last of the agent's old words; null: it was not stopped. */
  readonly totalMs: number | null;
  /** Packets of old words after that. */
  readonly stale: number;
  /** Words (en) or characters (zh) that the record has more or less than were sent; null: not stopped. */
  readonly heardError: number | null;
};

const WORDS: Readonly<Record<string, { text: string; kind: Kind }>> = {
  1: { text: 'Stop, please listen to me.', kind: 'interruption' },
  2: { text: '等一下，我想问个问题', kind: 'interruption' },
  3: { text: 'No, that is not what I asked.', kind: 'interruption' },
  4: { text: '不是这个', kind: 'interruption' },
  5: { text: 'uh-huh', kind: 'backchannel' },
  6: { text: '嗯', kind: 'backchannel' },
  7: { text: 'okay', kind: 'backchannel' },
  8: { text: '好的', kind: 'backchannel' },
  9: { text: 'I see', kind: 'backchannel' },
  10: { text: '对对', kind: 'backchannel' },
};

export async function measureInterruptions(folder: string, seed: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const language of ['en', 'zh'] as const) {
    const utterances = Object.fromEntries(
      Object.entries(WORDS).map(([id, { text }]) => [id, text]),
    );
    const script = { greeting: GREETINGS[language], utterances, defaultReply: 'Yes.' };
    const agent = { language, turn: { barge_in: true, barge_in_confirm_ms: CONFIRM_MS } };
    await using server = await startTalkServer(folder, `barge-${language}`, script, agent);
    const random = randomFrom(seed * 77 + language.charCodeAt(0));
    const trials = trialsOf(language, random);
    const next = async (): Promise<void> => {
      for (let trial = trials.pop(); trial !== undefined; trial = trials.pop()) {
        outcomes.push(await tryOne(server, language, trial));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
  }
  return outcomes;
}

type Trial = { kind: Kind; what: string; pcm: Int16Array; afterMs: number };

function trialsOf(language: 'zh' | 'en', random: () => number): Trial[] {
  const afterMs = (): number => 1300 + random() * 2500;
  const ofWords = Object.entries(WORDS).filter(
    ([, { text }]) => /\p{Script=Han}/u.test(text) === (language === 'zh'),
  );
  const spoken = (id: string, kind: Kind): Int16Array => {
    const ms = kind === 'backchannel' ? 60 + random() * 150 : 500 + random() * 800;
    return trimSilence(
      concatPcm(encodeUtteranceId(Number(id)), speech.subarray(0, Math.floor(ms) * 8)),
      160,
    );
  };
  const trials: Trial[] = [];
  for (let round = 0; round < EACH; round++) {
    for (const kind of ['interruption', 'backchannel'] as const) {
      const rows = ofWords.filter(([, word]) => word.kind === kind);
      const [id, word] = rows[Math.floor(random() * rows.length)] ?? ['1', WORDS[1]];
      trials.push({ kind, what: word?.text ?? '', pcm: spoken(id, kind), afterMs: afterMs() });
    }
    const what: Noise = NOISES[round % NOISES.length] ?? 'hiss';
    trials.push({ kind: 'noise', what, pcm: noise(what, random), afterMs: afterMs() });
  }
  return trials;
}

async function tryOne(server: Callyard, language: 'zh' | 'en', trial: Trial): Promise<Outcome> {
  const call = await placeCall({ target: `sip:8001@${NODE}`, codecs: ['PCMU'] });
  let span = { firstMs: 0, lastMs: 0 };
  const sipCallId = call.sip.callId;
  try {
    const startedMs = await call.hearSpeech(0, 5000);
    await sleep(startedMs + trial.afterMs - performance.now());
    span = await call.say(trial.pcm);
    await sleep(2600);
  } finally {
    await call.hangUp();
  }
  const sounds = call.received
    .filter(({ payload }) => rmsOf(decodeG711('PCMU', payload)) >= SOUND_RMS)
    .map(({ atMs }) => atMs);
  const event = await interruptionIn(server, sipCallId);
  if (event === null)
    return { ...base(trial, language), stopped: false, totalMs: null, stale: 0, heardError: null };
  const before = sounds.filter((atMs) => atMs < span.lastMs + 2000);
  const firstMs = sounds[0] ?? 0;
  // The first end after the caller began; the last old word may have left just before, and what follows is the answer.
  const end = before.findIndex((atMs, at) => {
    const nextMs = before[at + 1] ?? Number.POSITIVE_INFINITY;
    return nextMs > span.firstMs && nextMs - atMs > END_MS;
  });
  const stopMs = before[end] ?? firstMs;
  const heard =
    language === 'zh'
      ? (event.match(/\p{Script=Han}/gu)?.length ?? 0)
      : event.split(/\s+/).filter(Boolean).length;
  const sent = Math.floor((stopMs - firstMs + 40) / WORD_MS);
  return {
    ...base(trial, language),
    stopped: true,
    totalMs: Math.max(0, stopMs - span.firstMs),
    stale: sounds.filter((atMs) => atMs > stopMs && atMs < span.lastMs).length,
    heardError: Math.abs(heard - sent),
  };
}

function base({ kind, what }: Trial, language: 'zh' | 'en') {
  return { kind, what, language };
}

/** SIP calls by record. */
const whose = new Map<string, string>();

/** The words that the record says were heard of an utterance that the caller interrupted; null: none was. */
async function interruptionIn(server: Callyard, sipCallId: string): Promise<string | null> {
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    for (const id of (await server.recordIds()).slice(0, 40)) {
      // Each record is asked for once by all who wait, or there would be too many questions.
      if ((whose.get(id) ?? sipCallId) !== sipCallId) continue;
      const record = await server.record(id);
      whose.set(id, record.sip_call_id ?? '');
      if (record.sip_call_id !== sipCallId || record.status !== 'ended') continue;
      const event = server.journaled(id).find(({ type }: CallEvent) => type === 'user-interrupted');
      if (event === undefined) return null;
      const { heard_text: text } = (event as { readonly data: { readonly heard_text?: string } })
        .data;
      return text ?? '';
    }
    if (performance.now() > deadlineMs) throw new Error('a call left no record');
    await sleep(100);
  }
}
