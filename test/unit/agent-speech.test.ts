/** What had been heard of the agent at a moment, and whether that asks for an answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simWords } from '#providers/sim/tts.ts';
import { AgentSpeech, type SpeechStory } from '#sessions/agent-speech.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { Utterance } from '#sessions/utterance.ts';

const WORD_MS = 200;

/** `text` being said, a word every 200 ms; `atMs`: how much of it has been sent. */
function saying(text: string, atMs: number, isQueued = true) {
  const speech = new AgentSpeech({ feed: null } as unknown as SpeechStory, {
    playedSamples: () => atMs * 8,
  });
  const utterance = new Utterance(1, 1, new TurnTimes(() => 0));
  const base = utterance.addPiece(text);
  const words = simWords(text);
  const marks = words.map(({ end }, index) => ({ chars: end, ms: (index + 1) * WORD_MS }));
  utterance.addAudio(base, words.length * WORD_MS * 8, marks);
  utterance.isQueued = isQueued;
  speech.add(utterance);
  utterance.startedAtMs = 0;
  return speech.heardSoFar;
}

test('a question asks from 300 ms before its end to 700 ms after it', () => {
  const text = 'Very well. Shall I book it? Then I need to know when you want to come.';
  const end = 6 * WORD_MS;
  const rows: [atMs: number, asks: boolean, heard: string][] = [
    [end - 400, false, 'Very well. Shall I'],
    [end - 300, true, 'Very well. Shall I'],
    [end, true, 'Very well. Shall I book it?'],
    [end + 699, true, 'Very well. Shall I book it? Then I need'],
    [end + 700, false, 'Very well. Shall I book it? Then I need'],
    [end + 1200, false, 'Very well. Shall I book it? Then I need to know when'],
  ];
  for (const [atMs, asks, heard] of rows)
    assert.deepEqual(saying(text, atMs), { spokeMs: atMs, text: heard, asks }, `${atMs}`);
});

test('the last question, in Chinese, and one that is still being made', () => {
  assert.equal(saying('好的先生您要现在预约吗', 1900)?.asks, true);
  assert.equal(saying('好的先生您要现在预约吗', 1800)?.asks, false);
  assert.equal(saying('好的先生您要现在预约吗？', 2200)?.asks, true);
  assert.equal(saying('Shall I book it?', 700, false)?.asks, true);
  assert.equal(saying('I shall book it.', 700)?.asks, false);
});

test('nobody speaks: nothing was heard', () => {
  const speech = new AgentSpeech({ feed: null } as unknown as SpeechStory, {
    playedSamples: () => null,
  });
  assert.equal(speech.heardSoFar, null);
});
