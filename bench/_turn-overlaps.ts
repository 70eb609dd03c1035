/** Sounds over the agent's speech, played to the turn machine: what stops the agent, and what should have. */
import { createActor } from 'xstate';
import type { TurnConfig, TurnEvent } from '#sessions/turn-types.ts';
import { turnMachine } from '#sessions/turn.machine.ts';
import { median } from './_result.ts';
import { hear, type Heard } from './_turn-hearing.ts';
import { AGENT_TALK, ANSWERED, INTERRUPTING, LISTENING } from './_turn-overlap-words.ts';
import { randomOf, type Random } from './_turn-random.ts';
import type { Language } from './_turn-text.ts';
import { PLAIN_WORLD, sayAs } from './_turn-world.ts';

export type OverlapKind = 'noise' | 'backchannel' | 'echo' | 'interruption' | 'answer';

export type Overlap = {
  readonly kind: OverlapKind;
  readonly language: Language;
  /** How long the agent had been speaking, and what of it had been heard. */
  readonly agentSpokeMs: number;
  readonly agentText: string;
  readonly said: string;
  readonly heard: readonly Heard[];
};

/** One in four is noise, one a backchannel; the agent's echo and answers are rarer than real interruptions. */
const SHARES: readonly (readonly [OverlapKind, number])[] = [
  ['noise', 0.25],
  ['backchannel', 0.27],
  ['echo', 0.06],
  ['answer', 0.06],
  ['interruption', 0.36],
];

export function overlapsOf(seed: number, count: number, hangoverMs: number): Overlap[] {
  return (['zh', 'en'] as const).flatMap((language) => {
    const random = randomOf(seed * 2 + 1000 + (language === 'en' ? 1 : 0));
    return Array.from({ length: count }, () =>
      overlapOf(kindOf(random), language, hangoverMs, random),
    );
  });
}

function kindOf(random: Random): OverlapKind {
  let left = random.next();
  return SHARES.find(([, share]) => (left -= share) < 0)?.[0] ?? 'interruption';
}

function overlapOf(
  kind: OverlapKind,
  language: Language,
  hangoverMs: number,
  random: Random,
): Overlap {
  const talk = random.pick(AGENT_TALK[language]);
  const agentSpokeMs = Math.round(random.between(150, 7000));
  const pace = language === 'zh' ? 4.4 : 15;
  const reached = talk.slice(0, Math.max(1, Math.round((agentSpokeMs / 1000) * pace)));
  const spoken = language === 'zh' ? reached : reached.replace(/ ?\S*$/, '');
  const base = { kind, language, agentSpokeMs, agentText: spoken };
  const of = (template: string): Pick<Overlap, 'said' | 'heard'> => {
    const turn = sayAs(template, { language, agentText: talk }, random, PLAIN_WORLD);
    return { said: template, heard: hear(turn, PLAIN_WORLD, hangoverMs, random) };
  };
  switch (kind) {
    case 'noise':
      return { ...base, said: '', heard: noiseOf(hangoverMs, random) };
    case 'backchannel':
      return { ...base, ...of(listeningIn(language, random)) };
    case 'echo':
      return spoken === ''
        ? { ...base, kind: 'noise', said: '', heard: noiseOf(hangoverMs, random) }
        : { ...base, ...of(echoOf(spoken, language)) };
    case 'interruption':
      return { ...base, ...of(random.pick(INTERRUPTING[language])) };
    case 'answer': {
      const [question, answer] = random.pick(ANSWERED[language]);
      return { ...base, agentText: question, agentSpokeMs: 2500, ...of(answer) };
    }
  }
}

/** A few small words are most of what listeners say. */
function listeningIn(language: Language, random: Random): string {
  const all = LISTENING[language];
  return random.pick(random.chance(0.4) ? all.slice(0, 8) : all);
}

/** The last words that were heard, as they come back. */
function echoOf(spoken: string, language: Language): string {
  return language === 'zh' ? spoken.slice(-9) : spoken.split(' ').slice(-6).join(' ');
}

/** A cough, a door, a voice in the background: mostly short, sometimes more than one. One in twelve is read as a word. */
function noiseOf(hangoverMs: number, random: Random): Heard[] {
  const heard: Heard[] = [];
  let startMs = 0;
  for (let left = random.whole(1, 3); left > 0; left--) {
    const endMs = startMs + Math.round(Math.min(1500, random.logNormal(280, 0.6)));
    const stopAt = endMs + hangoverMs + 15;
    const text = random.chance(1 / 12) ? random.pick(['啊', '嗯', '的', 'the', 'uh', 'oh']) : '';
    heard.push(
      { type: 'speech.started', at: startMs + 50, startMs },
      { type: 'speech.stopped', at: stopAt, startMs, endMs },
      { type: 'stt.final', at: stopAt + Math.round(random.logNormal(140, 0.4)), text },
    );
    startMs = endMs + Math.round(random.between(300, 900));
  }
  return heard.toSorted((a, b) => a.at - b.at);
}

export type OverlapOutcome = {
  /** The agent lost the floor. */
  readonly stopped: boolean;
  /** From the caller's first sound until then. */
  readonly afterMs: number;
};

const SINCE_MS = 10_000;
const GIVEN_UP_MS = 6000;

/** The agent speaks on for long enough; what is asked of its `interruption sensitivity` and confirmation is in `dials`. */
export function playOverlap(
  { language, agentSpokeMs, agentText, heard }: Overlap,
  dials: { readonly sensitivity: number; readonly confirmMs: number; readonly hangoverMs: number },
): OverlapOutcome {
  const config: TurnConfig = {
    ...{ language, dials: { minMs: 200, maxMs: 3000, responsiveness: 0.5 }, reads: true },
    ...{ bargeIn: true, bargeInConfirmMs: dials.confirmMs, sensitivity: dials.sensitivity },
    ...{ falseBargeInMs: 2000, vadHangoverMs: dials.hangoverMs, sttFinalMs: 2000 },
    ...{ promptAfterMs: 60_000, prompts: 0, hangupAfterMs: 120_000 },
  };
  const actor = createActor(turnMachine, { input: { config } });
  let nowMs = 0;
  let stoppedAt: number | null = null;
  actor.on('floor.yield', () => (stoppedAt ??= nowMs));
  actor.start();
  const send = (event: TurnEvent): void => {
    nowMs = event.at;
    if (stoppedAt === null) actor.send(event);
  };
  const until = (atMs: number): void => {
    for (;;) {
      const { deadlineAt } = actor.getSnapshot().context.now;
      if (stoppedAt !== null || deadlineAt === null || deadlineAt >= atMs) return;
      send({ type: 'deadline.reached', at: Math.max(nowMs, Math.ceil(deadlineAt)) });
    }
  };
  for (const event of heard) {
    until(event.at + SINCE_MS);
    send(shifted(event, agentSpokeMs, agentText));
  }
  until(SINCE_MS + GIVEN_UP_MS);
  actor.stop();
  const startMs = heard.find(({ type }) => type === 'speech.started')?.at ?? 0;
  return {
    stopped: stoppedAt !== null,
    afterMs: (stoppedAt ?? nowMs) - SINCE_MS - startMs,
  };
}

function shifted(event: Heard, spokeMs: number, text: string): TurnEvent {
  const at = event.at + SINCE_MS;
  if (event.type === 'speech.started')
    return {
      type: 'speech.started',
      at,
      startMs: event.startMs + SINCE_MS,
      over: { spokeMs, text },
    };
  if (event.type !== 'speech.stopped') return { ...event, at };
  const { startMs, endMs } = event;
  return { type: 'speech.stopped', at, startMs: startMs + SINCE_MS, endMs: endMs + SINCE_MS };
}

export type OverlapFigures = {
  /** Per kind, in percent: how often it took the floor from the agent. */
  readonly stoppedPct: Readonly<Record<OverlapKind, number>>;
  readonly falseStopPct: number;
  readonly missedPct: number;
  /** Until a real interruption was one, from its first sound. */
  readonly medianMs: number;
  readonly others: number;
  readonly real: number;
};

const REAL: ReadonlySet<OverlapKind> = new Set(['interruption', 'answer']);

/** `count` in each language, per seed. */
export function measureOverlaps(
  seeds: readonly number[],
  count: number,
  dials: Parameters<typeof playOverlap>[1],
): OverlapFigures {
  const played = seeds
    .flatMap((seed) => overlapsOf(seed, count, dials.hangoverMs))
    .map((overlap) => ({ kind: overlap.kind, ...playOverlap(overlap, dials) }));
  const share = (of: readonly { readonly stopped: boolean }[]): number =>
    of.length === 0 ? 0 : (100 * of.filter(({ stopped }) => stopped).length) / of.length;
  const real = played.filter(({ kind }) => REAL.has(kind));
  const others = played.filter(({ kind }) => !REAL.has(kind));
  const times = real.filter(({ stopped }) => stopped).map(({ afterMs }) => afterMs);
  const of = (kind: OverlapKind): number => share(played.filter((each) => each.kind === kind));
  return {
    stoppedPct: {
      ...{ noise: of('noise'), backchannel: of('backchannel'), echo: of('echo') },
      ...{ interruption: of('interruption'), answer: of('answer') },
    },
    ...{ falseStopPct: share(others), missedPct: 100 - share(real), medianMs: median(times) },
    ...{ others: others.length, real: real.length },
  };
}
