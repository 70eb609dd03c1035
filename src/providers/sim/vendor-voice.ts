/** What a simulated voice says: a tone of its own for every word, at any rate, as in tts.ts. */
import { simWords, simWordSound } from './tts.ts';

/** The sound of `text`, 200 ms a word, at `rateHz` (a whole multiple of 8000). */
export function simSpeech(text: string, rateHz: number): Int16Array {
  const times = rateHz / 8000;
  const sounds = simWords(text).map(({ text: word }) => simWordSound(word));
  const total = sounds.reduce((sum, sound) => sum + sound.length, 0);
  const pcm = new Int16Array(total * times);
  let at = 0;
  for (const sound of sounds) {
    for (const sample of sound) {
      pcm.fill(sample, at, at + times);
      at += times;
    }
  }
  return pcm;
}
