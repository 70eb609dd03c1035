/** What a simulated voice says: a tone of its own for every word, at any rate, as in tts.ts. */
import { simWords, simWordSound } from './tts.ts';

/** The sound of `text`, 200 ms a word, at `rateHz`: each sample as often as the rate wants it. */
export function simSpeech(text: string, rateHz: number): Int16Array {
  const sounds = simWords(text).map(({ text: word }) => simWordSound(word));
  const total = sounds.reduce((sum, sound) => sum + sound.length, 0);
  const plain = new Int16Array(total);
  let at = 0;
  for (const sound of sounds) {
    plain.set(sound, at);
    at += sound.length;
  }
  const pcm = new Int16Array(Math.round((total * rateHz) / 8000));
  for (let i = 0; i < pcm.length; i++) pcm[i] = plain[Math.floor((i * 8000) / rateHz)] ?? 0;
  return pcm;
}
