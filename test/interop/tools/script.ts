/** The scripted conversation of the suite: one greeting, one question, one answer, through real audio. */
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { concatPcm, readChannel, silence } from './wav.ts';

export const GREETING = 'Hello, this is the test line. How can I help you?';
export const QUESTION = 'What are your opening hours?';
export const ANSWER = 'We are open from nine to five.';

export const SCRIPT = {
  greeting: GREETING,
  utterances: { 7: QUESTION },
  replies: [{ match: QUESTION, reply: ANSWER }],
  delays: { sttMs: 20, llmMs: 30, ttsMs: 20 },
};

export const speech = readChannel(
  new URL('../../../src/demo/speech-en.wav', import.meta.url).pathname,
);

/** Its first breath. The words of a tone code are all there by then: a pause after them is the end of the turn. */
export const phrase = speech.subarray(0, 460 * 8);

/** The scripted voice takes 200 ms for each of the greeting's eleven words. */
export const GREETING_MS = 11 * 200;

/** A caller that waits for the greeting's end, asks, and listens: the tone code tells which question it is. */
export function callerAudio(waitMs = GREETING_MS + 800): Int16Array {
  return concatPcm(silence(waitMs), encodeUtteranceId(7), phrase, silence(3500));
}

/** How long such a call takes until the answer has been heard. */
export const CALL_MS = GREETING_MS + 800 + 340 + Math.round(speech.length / 8) + 3300;
