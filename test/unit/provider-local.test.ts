/** The built-in agent, the recorded prompts and the voice without its optional engine. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import type { Language, ReplyPart, ReplyRequest } from '#providers/contract.ts';
import { heardText } from '#providers/heard-text.ts';
import { createLocalAgent } from '#providers/local/agent.ts';
import { createPhraseCache } from '#providers/local/phrase-cache.ts';
import { openRecordedPrompts } from '#providers/local/recorded.ts';
import { createLocalStt } from '#providers/local/stt.ts';
import { createLocalTts } from '#providers/local/tts.ts';
import { decodeWav, encodeWav } from '#providers/local/wav.ts';
import { allPrompts, promptText } from '#providers/prompts.ts';
import { splitSentences } from '#providers/sentences.ts';
import {
  collect,
  replyRequest,
  speakAll,
  testLlm,
  testStt,
  testTts,
} from './_provider-contract.ts';

const voiceless = (): ReturnType<typeof createLocalTts> =>
  createLocalTts({ log: silentLog, clock: systemClock, cacheDir: null, engine: null });
const never = (): AbortSignal => new AbortController().signal;

testTts('local tts without a voice', voiceless, allPrompts());
testLlm('local agent', createLocalAgent);
testStt('local stt', createLocalStt, () => Promise.resolve());

/** Runs turns of one call; parts as short words. */
async function talk(
  language: Language,
  inputs: readonly ReplyRequest['input'][],
): Promise<string[]> {
  const agent = createLocalAgent();
  const state = new Map();
  const replies: string[] = [];
  for (const input of inputs) {
    const request = replyRequest('', { input, language, state });
    const { items } = await collect(agent.reply(request, never()));
    replies.push(items.map(shorten).join(' '));
  }
  return replies;
}

function shorten(part: ReplyPart): string {
  switch (part.type) {
    case 'text': {
      const prompt = allPrompts().find(({ text }) => text === part.text.trim());
      return prompt === undefined ? part.text.trim() : `${prompt.name}.${prompt.language}`;
    }
    case 'audio':
      return `audio:${part.pcm.length}`;
    case 'tool_call':
      return `call:${part.call.name}`;
    case 'language':
      return `=${part.language}`;
    case 'end_call':
      return 'end';
  }
}

const audio = { pcm: new Int16Array(9600).fill(5), startMs: 1000, endMs: 2000 };
const keys = (digits: string): ReplyRequest['input'] => ({ kind: 'dtmf', digits });
const unread = { kind: 'speech', text: '', audio } as const;
const said = (text: string): ReplyRequest['input'] => ({ kind: 'speech', text, audio: null });

test('the agent repeats what the caller said, and reminds of the menu now and then', async () => {
  assert.deepEqual(await talk('en', [unread, unread, unread, unread]), [
    'you_said.en audio:9600 go_on_menu.en',
    'you_said.en audio:9600 go_on.en',
    'you_said.en audio:9600 go_on.en',
    'you_said.en audio:9600 go_on_menu.en',
  ]);
  assert.deepEqual(await talk('zh', [said('我想订票'), said('hello')]), [
    'you_said.zh 我想订票 go_on_menu.zh',
    'you_said.zh hello go_on.zh',
  ]);
});

test('the echo is a copy, and bounded', async () => {
  const pcm = new Int16Array(8000 * 60).fill(9);
  const input = { kind: 'speech', text: '', audio: { pcm, startMs: 0, endMs: 60_000 } } as const;
  const { items } = await collect(createLocalAgent().reply(replyRequest('', { input }), never()));
  pcm.fill(0);
  const echo = items.find((part) => part.type === 'audio');
  assert.equal(echo?.pcm.length, 120_000);
  assert.equal(echo?.pcm[100], 9);
});

test('a cough is not repeated', async () => {
  const cough = { ...unread, audio: { ...audio, endMs: 1100 } };
  assert.deepEqual(await talk('en', [cough, said('')]), ['too_short.en', 'too_short.en']);
});

test('keys: languages stay chosen, every key is answered', async () => {
  const rows: [string[], string[]][] = [
    [
      ['1', '4'],
      ['=zh language_set.zh', 'menu.zh'],
    ],
    [
      ['2', '3', '*'],
      ['=en language_set.en', 'about.en go_on_menu.en', 'menu.en'],
    ],
    [['0'], ['goodbye.zh end']],
    [['9'], ['goodbye.zh end']],
    [
      ['2', '#'],
      ['=en language_set.en', 'goodbye.en end'],
    ],
    [['7'], ['unknown_key.zh']],
    [['24'], ['=en menu.en']],
    [['120'], ['=en goodbye.en end']],
  ];
  for (const [pressed, expected] of rows) {
    assert.deepEqual(await talk('zh', pressed.map(keys)), expected, pressed.join(' '));
  }
});

test('with a recogniser the same can be said', async () => {
  const rows: [string, string][] = [
    ['Goodbye then', 'goodbye.zh end'],
    ['好的，再见', 'goodbye.zh end'],
    ['can we speak English please', '=en language_set.en'],
    ['说中文吧', '=zh language_set.zh'],
    ['read me the menu', 'menu.zh'],
    ['你是谁', 'about.zh go_on_menu.zh'],
    ['I learned English at school', 'you_said.zh I learned English at school go_on_menu.zh'],
  ];
  for (const [text, expected] of rows) {
    assert.deepEqual(await talk('zh', [said(text)]), [expected], text);
  }
});

test('every prompt is recorded, up to date, and below 2.6 MB', () => {
  const recorded = openRecordedPrompts();
  let bytes = 0;
  for (const { name, language, text } of allPrompts()) {
    const phrase = recorded.find(text, language);
    assert.ok(phrase, `${name}.${language} is not recorded: run scripts/make-prompts.ts`);
    assert.equal(phrase.marks.at(-1)?.chars, text.length);
    bytes += phrase.pcm.length * 2;
  }
  assert.ok(bytes < 2_600_000, `${bytes} bytes`);
});

test('every sentence of a prompt can be cut out of its recording', async () => {
  const tts = voiceless();
  for (const { language, text } of allPrompts()) {
    for (const piece of splitSentences(text)) {
      const { pcm, marks } = await speakAll(tts, { text: piece, language });
      assert.equal(marks.at(-1)?.chars, piece.length, piece);
      assert.ok(marks.length > 1 || !piece.includes(' '), `${piece}: not from a recording`);
      assert.ok(pcm.length >= 2400 && pcm.length < 64_000, `${piece}: ${pcm.length} samples`);
      const heard = heardText({ text: piece, marks, heardMs: pcm.length / 16 });
      assert.ok(heard.length < piece.length, piece);
    }
  }
});

test('parts of words or sentences are not cut out', () => {
  const recorded = openRecordedPrompts();
  for (const text of ['press', 'o, this is Call', 'hear the', '菜', 'Hello, this is']) {
    assert.equal(recorded.find(text, 'en'), undefined, text);
  }
});

test('unknown words become the nearest recording, never an error', async () => {
  const recorded = openRecordedPrompts();
  const rows: [string, Language, string][] = [
    ['Hello this is Callyard, say something or press four for the menu', 'en', 'greeting'],
    ['Sorry, something went wrong. Please say that again!', 'en', 'apology'],
    ['The weather in Oslo is fine today.', 'en', 'no_words'],
    ['今天天气很好。', 'zh', 'no_words'],
    ['x', 'en', 'no_words'],
  ];
  for (const [text, language, name] of rows) {
    const nearest = recorded.nearest(text, language);
    const expected = allPrompts().find((p) => p.name === name && p.language === language)?.text;
    assert.equal(nearest.text, expected, text);
    const { pcm, marks } = await speakAll(voiceless(), { text, language });
    assert.deepEqual(pcm, nearest.phrase.pcm);
    assert.deepEqual(marks, [{ chars: text.length, ms: pcm.length / 8 }]);
  }
});

test('the greeting begins with sound at once', async () => {
  for (const language of ['zh', 'en'] as const) {
    const request = { text: promptText('greeting', language), language };
    const first = await voiceless().speak(request, never()).next();
    const { pcm } = first.value as { pcm: Int16Array };
    const onset = pcm.findIndex((sample) => Math.abs(sample) > 500);
    assert.ok(onset >= 0 && onset < 800, `sound begins at sample ${onset}`);
  }
});

test('WAV: what is written is read, anything else is refused', () => {
  const pcm = Int16Array.from([0, 1, -1, 32767, -32768]);
  const wav = encodeWav(pcm);
  assert.deepEqual(decodeWav(wav, 'x'), pcm);
  assert.equal(wav.subarray(0, 4).toString(), 'RIFF');
  const stereo = Buffer.from(wav);
  stereo.writeUInt16LE(2, 22);
  const rows: [Buffer, RegExp][] = [
    [Buffer.from('hello'), /x: not a WAV/],
    [stereo, /x: not 16-bit mono/],
    [wav.subarray(0, 36), /x: no audio/],
    [Buffer.alloc(0), /x: not a WAV/],
  ];
  for (const [bytes, expected] of rows) assert.throws(() => decodeWav(bytes, 'x'), expected);
});

test('the phrase cache keeps to its bound, survives a restart, and ignores damaged files', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'phrases-'));
  try {
    const key = (text: string) => ({ text, language: 'en' as const, voice: '', version: '1' });
    const phrase = { pcm: new Int16Array(1000).fill(3), marks: [{ chars: 1, ms: 5 }] };
    const make = () => createPhraseCache({ dir, maxBytes: 5000, log: silentLog });
    const cache = make();
    cache.put(key('a'), phrase);
    cache.put(key('b'), phrase);
    assert.equal(cache.get(key('a')), phrase);
    cache.put(key('c'), phrase);
    assert.equal(cache.bytes, 4000);
    assert.equal(cache.get(key('b')), undefined, 'the least recently used has gone');
    assert.equal(cache.get(key('a')), phrase);
    await cache.store(key('kept'), phrase);
    assert.deepEqual(await make().load(key('kept')), phrase);
    assert.equal(await make().load({ ...key('kept'), version: '2' }), undefined);
    const [file] = readdirSync(dir);
    writeFileSync(join(dir, file as string), '{"text":"kept"');
    assert.equal(await make().load(key('kept')), undefined);
    const nowhere = createPhraseCache({ dir: '/dev/null/x', maxBytes: 5000, log: silentLog });
    await nowhere.store(key('a'), phrase);
    assert.equal(nowhere.get(key('a')), phrase);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
