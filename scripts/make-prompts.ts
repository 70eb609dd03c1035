/**
 * Makes src/providers/local/prompts: the recorded prompts that Callyard can say with no voice installed. Run it after a
 * change in src/providers/prompts.ts, with the optional eSpeak NG package installed:
 *   node scripts/make-prompts.ts
 */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { systemClock } from '#lib/clock.ts';
import { createLog } from '#lib/log.ts';
import { EspeakEngine } from '#providers/local/espeak-engine.ts';
import { phraseOf } from '#providers/local/phrase.ts';
import { PROMPTS_DIR, type RecordedPrompt } from '#providers/local/recorded.ts';
import { synthesise, VOICE_VERSION } from '#providers/local/tts.ts';
import { encodeWav } from '#providers/local/wav.ts';
import { allPrompts } from '#providers/prompts.ts';

const engine = new EspeakEngine({ log: createLog('info'), clock: systemClock });
try {
  await engine.start();
  await mkdir(PROMPTS_DIR, { recursive: true });
  for (const name of await readdir(PROMPTS_DIR)) await rm(new URL(name, PROMPTS_DIR));
  const prompts: RecordedPrompt[] = [];
  let bytes = 0;
  for (const { name, language, text } of allPrompts()) {
    const request = { text, language };
    const never = new AbortController().signal;
    const phrase = phraseOf(await Array.fromAsync(synthesise(engine, request, never)));
    const file = `${name}-${language}.wav`;
    const wav = encodeWav(phrase.pcm);
    await writeFile(new URL(file, PROMPTS_DIR), wav);
    prompts.push({ file, language, text, marks: phrase.marks });
    bytes += wav.length;
  }
  const lines = prompts.map((prompt) => `    ${JSON.stringify(prompt)}`).join(',\n');
  const index = `{\n  "version": ${JSON.stringify(VOICE_VERSION)},\n  "prompts": [\n${lines}\n  ]\n}\n`;
  await writeFile(new URL('prompts.json', PROMPTS_DIR), index);
  console.log(`${prompts.length} prompts, ${Math.round(bytes / 1024)} KiB`);
} finally {
  engine.close();
}
