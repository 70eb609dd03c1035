/** What reaches the engine of a turn: a detector's starts and stops, a recogniser's partials and finals, all imperfect. */
import type { Random } from './_turn-random.ts';
import type { Turn, Word, World } from './_turn-world.ts';

/** As the turn machine gets it, plus what the detector thinks the times were. Times in ms since the turn began. */
export type Heard =
  | { readonly type: 'speech.started'; readonly at: number; readonly startMs: number }
  | {
      readonly type: 'speech.stopped';
      readonly at: number;
      readonly startMs: number;
      readonly endMs: number;
    }
  | { readonly type: 'stt.partial'; readonly at: number; readonly text: string }
  | { readonly type: 'stt.final'; readonly at: number; readonly text: string };

type Sound = { startMs: number; endMs: number };

const FRAME_MS = 20;
const START_DELAY_MS = 50;

/** Sound as the detector takes it: words, less what is too soft for it, and what is no word at all. */
function soundsOf({ words, endMs }: Turn, random: Random): Sound[] {
  const sounds: Sound[] = [];
  for (const { startMs, endMs: wordEndMs } of words) {
    const last = sounds.at(-1);
    if (last !== undefined && startMs - last.endMs < FRAME_MS) last.endMs = wordEndMs;
    else sounds.push({ startMs, endMs: wordEndMs });
  }
  for (const sound of sounds) {
    // The last syllable of a phrase is often soft: it is lost, or its echo is taken for speech.
    sound.endMs += Math.max(-40, random.normal(10, 25));
    if (random.chance(0.06))
      sound.endMs -= Math.min(random.between(60, 200), (sound.endMs - sound.startMs) / 2);
  }
  const long = sounds.findIndex((sound) => sound.endMs - sound.startMs > 900);
  const dropped = sounds[long];
  if (dropped !== undefined && random.chance(0.05)) {
    const from = random.between(dropped.startMs + 200, dropped.endMs - 500);
    const to = from + random.between(120, 320);
    sounds.splice(
      long,
      1,
      { startMs: dropped.startMs, endMs: from },
      { startMs: to, endMs: dropped.endMs },
    );
  }
  // The agent's own last words come back, or something falls down.
  if (random.chance(0.04))
    sounds.push({ startMs: -random.between(700, 1000), endMs: -random.between(300, 600) });
  if (random.chance(0.06)) {
    const startMs = random.between(0, endMs + 700);
    sounds.push({ startMs, endMs: startMs + random.between(80, 350) });
  }
  return sounds.toSorted((a, b) => a.startMs - b.startMs);
}

/** Stretches of speech as the detector reports them: `hangoverMs` of silence ends one. */
function stretchesOf(sounds: readonly Sound[], hangoverMs: number): Sound[] {
  const stretches: Sound[] = [];
  for (const sound of sounds) {
    const last = stretches.at(-1);
    if (last !== undefined && sound.startMs - last.endMs < hangoverMs)
      last.endMs = Math.max(last.endMs, sound.endMs);
    else if (sound.endMs - sound.startMs >= 40) stretches.push({ ...sound });
  }
  return stretches;
}

export function hear(turn: Turn, world: World, hangoverMs: number, random: Random): Heard[] {
  const stretches = stretchesOf(soundsOf(turn, random), hangoverMs);
  // One recogniser writes figures, the other words; one is slow today.
  const reader: Reader = {
    writesFigures: random.chance(0.6),
    lagMs: Math.max(120, random.normal(260, 70)),
    turn,
    world,
    random,
  };
  let unread = turn.words;
  const heard = stretches.flatMap((stretch): Heard[] => {
    const isIn = ({ startMs, endMs }: Word): boolean => (startMs + endMs) / 2 <= stretch.endMs + 60;
    const words = unread.filter(isIn);
    unread = unread.filter((word) => !isIn(word));
    const startMs = Math.round(stretch.startMs);
    const endMs = Math.round(stretch.endMs);
    const stopAt = endMs + hangoverMs + Math.round(random.between(5, 30));
    return [
      { type: 'speech.started', at: startMs + START_DELAY_MS, startMs },
      ...read(words, stopAt, reader),
      { type: 'speech.stopped', at: stopAt, startMs, endMs },
    ];
  });
  return heard.toSorted((a, b) => a.at - b.at);
}

type Reader = {
  readonly writesFigures: boolean;
  readonly lagMs: number;
  readonly turn: Turn;
  readonly world: World;
  readonly random: Random;
};

/** Partials while a stretch is being said, each some words behind, and the final after the detector's stop. */
function read(words: readonly Word[], stopAt: number, reader: Reader): Heard[] {
  const { random, lagMs } = reader;
  const finalAt = stopAt + Math.round(finalDelayMs(random));
  const heard: Heard[] = [];
  let nextAt = Number.NEGATIVE_INFINITY;
  for (const [index, word] of words.entries()) {
    const at = Math.round(word.endMs + lagMs + random.between(-60, 100));
    if (at < nextAt || at >= finalAt) continue;
    // It hears a part at a time.
    nextAt = at + random.between(100, 240);
    const known = words.slice(0, index + 1);
    const isWrong = random.chance(0.06);
    const text = written(isWrong ? [...known.slice(0, -1), misheard(reader)] : known, reader);
    heard.push({
      type: 'stt.partial',
      at,
      text: random.chance(0.1) ? marked(text, reader, false) : text,
    });
  }
  const whole = words.flatMap((word) =>
    random.chance(0.02) ? (random.chance(0.5) ? [] : [misheard(reader)]) : [word],
  );
  const isEnd = words.at(-1) === reader.turn.words.at(-1);
  const text = whole.length === 0 ? '' : marked(written(whole, reader), reader, isEnd);
  return [...heard, { type: 'stt.final', at: finalAt, text }];
}

function finalDelayMs(random: Random): number {
  return random.chance(0.03) ? random.between(450, 900) : Math.min(450, random.logNormal(140, 0.4));
}

/** Some other word of the same caller. */
function misheard({ turn, random }: Reader): Word {
  return random.pick(turn.words);
}

function written(words: readonly Word[], { turn, writesFigures }: Reader): string {
  let text = '';
  let wasFigure = false;
  for (const word of words) {
    const piece = writesFigures ? word.written : word.spoken;
    const isFigure = writesFigures && word.isDigit;
    const isJoined = text === '' || turn.language === 'zh' || (isFigure && wasFigure);
    text += isJoined ? piece : ` ${piece}`;
    wasFigure = isFigure;
  }
  return text;
}

/**
 * Marks at the end of what was read. A recogniser guesses them from the words, so that a piece of a sentence often gets
 * a full stop and a question often gets none.
 */
function marked(text: string, { turn, world, random }: Reader, isEnd: boolean): string {
  if (!random.chance(world.punctuation)) return text;
  const [stop, comma, question] = turn.language === 'zh' ? ['。', '，', '？'] : ['.', ',', '?'];
  const asks = isEnd && ASKS[turn.language].test(text);
  if (asks) return text + (random.chance(0.75) ? question : stop);
  if (isEnd) return text + (random.chance(0.88) ? stop : comma);
  return text + (random.chance(0.6) ? stop : comma);
}

/** Roughly what a recogniser's own guess goes by. */
const ASKS = {
  zh: /什么|吗$|呢$|多少|几|怎么|哪|啥|能不能|可不可以|贵不贵/,
  en: /^(?:what|where|how|why|who|when|can|could|do|does|is|are|will|would)\b/i,
} as const;
