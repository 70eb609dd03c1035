/** Sound that is played as it is, once or over and over. */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import { SAMPLE_RATE_HZ, type MediaSession } from '#media/types.ts';
import type { Piece } from './speaker-line.ts';
import type { Utterance } from './utterance.ts';

/** Sound is handed over in pieces of 200 ms. */
const SOUND_SAMPLES = 1600;
/** A loop is queued so far ahead of what is heard of it, however much the media plane takes: its end is to be near. */
const LOOP_LEAD_MS = 1000;
/** A loop lets others run between two pieces, even where the media plane takes everything at once. */
const LOOP_PAUSE_MS = 20;

type Deps = { readonly media: MediaSession; readonly clock: Clock };

/** However little of it is heard, the transcript names it. Errors: E_ABORTED. */
export async function playSound(
  deps: Deps,
  utterance: Utterance,
  { pcm, title }: { readonly pcm: Int16Array; readonly title: string },
): Promise<void> {
  utterance.times.mark('pieceReady');
  const base = utterance.addPiece(title);
  const marks = [{ chars: title.length, ms: 0 }];
  const round = utterance.repeats ? atLeast(SOUND_SAMPLES, pcm) : pcm;
  do {
    for (let at = 0; at < round.length; at += SOUND_SAMPLES) {
      const part = round.subarray(at, at + SOUND_SAMPLES);
      utterance.times.mark('audioReady');
      utterance.addAudio(base, part.length, marks);
      await deps.media.write(utterance.sound, part);
      marks.length = 0;
      if (utterance.abort.signal.aborted) throw new AppError('E_ABORTED', 'the sound was stopped');
      if (utterance.repeats) await keepPace(deps, utterance);
    }
  } while (utterance.repeats && round.length > 0);
  utterance.endPiece();
}

/** Sound between the words of a reply; `chars` of `text` are heard with its end, or with its beginning. */
export function soundPiece(text: string, pcm: Int16Array, heardFrom: 'start' | 'end'): Piece {
  const ms = heardFrom === 'start' ? 0 : (pcm.length * 1000) / SAMPLE_RATE_HZ;
  return {
    text,
    async *speak() {
      let marks = [{ chars: text.length, ms: Math.floor(ms) }];
      for (let at = 0; at < pcm.length; at += SOUND_SAMPLES) {
        yield { pcm: pcm.subarray(at, at + SOUND_SAMPLES), marks };
        marks = [];
      }
    },
  };
}

async function keepPace({ media, clock }: Deps, utterance: Utterance): Promise<void> {
  const aheadMs = (): number => {
    const played = media.playedSamples(utterance.sound) ?? 0;
    return utterance.audioMs - (played * 1000) / SAMPLE_RATE_HZ - LOOP_LEAD_MS;
  };
  do await delay(Math.max(LOOP_PAUSE_MS, aheadMs()), utterance.abort.signal, clock);
  while (aheadMs() > 0 && utterance.repeats);
}

/** `pcm`, or as many whole rounds of it as make up `samples`. */
function atLeast(samples: number, pcm: Int16Array): Int16Array {
  if (pcm.length === 0 || pcm.length >= samples) return pcm;
  const rounds = new Int16Array(pcm.length * Math.ceil(samples / pcm.length));
  for (let at = 0; at < rounds.length; at += pcm.length) rounds.set(pcm, at);
  return rounds;
}
