/** Hours of speech that no key is pressed in: how often the detector of tones hears one (needs espeak-ng and sox). */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { InbandDtmf } from '#media/dtmf/dtmf-inband.ts';

const VOICES = ['en-us', 'en+f3', 'en-gb+m3', 'en-us+f2', 'cmn', 'cmn+f2', 'cmn+m4'] as const;
const hasTools = ['espeak-ng', 'sox'].every((tool) => spawnSync(tool, ['--version']).status === 0);

/** What is read: the guides, and what is Chinese in the prompts. */
function textFor(voice: string): string {
  const root = new URL('../../', import.meta.url);
  const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
  if (!voice.startsWith('cmn'))
    return ['api', 'records', 'calls', 'operation']
      .map((name) => read(`docs/${name}.md`))
      .join('')
      .replaceAll(/[`|*#{}<>]/g, ' ');
  const found = read('test/unit/_spoken-rows-zh.ts').match(/[\u4e00-\u9fff]{3,}/g) ?? [];
  return found.join('。');
}

function spoken(voice: string): Int16Array {
  const maxBuffer = 1 << 30;
  const input = textFor(voice).slice(0, 60_000);
  const wav = execFileSync('espeak-ng', ['-v', voice, '--stdin', '--stdout'], { input, maxBuffer });
  const form = ['-q', '--ignore-length', '-t', 'wav', '-', '-r', '8000', '-c', '1', '-b', '16'];
  const args = [...form, '-t', 'raw', '-', 'gain', '-n', '-6'];
  const raw = execFileSync('sox', args, { input: wav, maxBuffer });
  return new Int16Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + (raw.length & ~1)));
}

test('false keys in an hour of speech', { skip: !hasTools && 'no espeak-ng or sox' }, (t) => {
  const { encode, decode } = G711.PCMU;
  const found = { any: 0, strict: 0 };
  let seconds = 0;
  const frame = new Int16Array(160);
  for (const voice of VOICES) {
    const pcm = spoken(voice);
    const plain = new InbandDtmf(() => found.any++);
    const strict = new InbandDtmf(() => found.strict++);
    strict.expectEvents(true);
    for (let at = 0; at + 160 <= pcm.length; at += 160) {
      for (let i = 0; i < 160; i++)
        frame[i] = decode[encode[(pcm[at + i] as number) & 0xffff] as number] as number;
      plain.hear(frame, at / 8);
      strict.hear(frame, at / 8);
    }
    seconds += pcm.length / 8000;
  }
  const hours = seconds / 3600;
  t.diagnostic(
    `${hours.toFixed(1)} h: ${found.any} keys, ${found.strict} where events are expected`,
  );
  assert.ok(hours > 1, `${hours} h`);
  assert.ok(found.any / hours <= 2, `${found.any} in ${hours} h`);
  assert.equal(found.strict, 0);
});
