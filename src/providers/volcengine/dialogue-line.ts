/** One session of the dialogue: the vendor's events as those of realtime-line.ts. */
import { AppError } from '#lib/errors.ts';
import type { StreamResampler, StreamResampling } from '#lib/stream-resampler.ts';
import type { Clock } from '#lib/clock.ts';
import { Framer } from '../frames.ts';
import { bytesOf, samplesOf } from '../rates.ts';
import type { LineCall, LineEvents, RealtimeLine } from '../realtime-line.ts';
import { numberAt, objectsAt, textAt, type Json } from '../realtime-json.ts';
import type { Service } from './account.ts';
import { DOWN_RATE_HZ, promptAgain, UP_RATE_HZ } from './dialogue-start.ts';
import { failureOf, failureOfFrame } from './errors.ts';
import { ASK, TOLD } from './events.ts';
import { jsonOf, type VolcFrame } from './frame.ts';
import type { LineUser, VolcLine } from './line.ts';
import { PacedAudio } from './paced-audio.ts';

const FRAME_MS = 20;
/** What the converter still holds when a reply is over. */
const TAIL = new Int16Array((DOWN_RATE_HZ / 1000) * 4);
/** Of deleting or cutting what is not there. */
const NOTHING_TO_DO = 40000010;

export type DialogueLineOptions = {
  readonly service: Service;
  readonly clock: Clock;
  readonly resampling: StreamResampling;
  readonly line: VolcLine;
  readonly call: LineCall;
  readonly events: LineEvents;
  readonly canTruncate: boolean;
  /** Silence that ends a turn at the vendor. */
  readonly endWindowMs: number;
};

/** A reply of the model, or our own words spoken by it. */
type Reply = {
  readonly id: string;
  /** The vendor's own: it can be cut by it. */
  readonly isNamed: boolean;
  hasText: boolean;
};

export class DialogueLine implements RealtimeLine, LineUser {
  readonly lastsMs = null;
  readonly #options: DialogueLineOptions;
  readonly #up: PacedAudio;
  readonly #framer: Framer;
  readonly #started = Promise.withResolvers<string>();
  #down: StreamResampler | null = null;
  #reply: Reply | null = null;
  #replies = 0;
  /** Over, or not wanted: what still comes of it is dropped. */
  readonly #past: string[] = [];
  #isPlaying = false;
  #questionId = '';
  #words = '';
  #isSpeaking = false;
  /** A turn of the caller is over, and he has not begun another. */
  #mayAnswer = false;
  /** Our own words: to be sent when the caller has spoken; sent, and not begun. */
  #toSay: string | null = null;
  #saying: string | null = null;
  /** Instead of the model's answer, which is dropped. */
  #overrides = false;
  #hasStarted = false;
  #isOver = false;

  constructor(options: DialogueLineOptions) {
    this.#options = options;
    const { line, clock, resampling } = options;
    this.#framer = new Framer(UP_RATE_HZ, FRAME_MS, resampling.open(8000, UP_RATE_HZ));
    this.#up = new PacedAudio({
      ...{ clock, frameMs: FRAME_MS, keptQuietMs: options.endWindowMs + 200 },
      send: (pcm) => line.sendAudio(pcm),
    });
    // Whoever waits for it may have given up.
    this.#started.promise.catch(() => this.close());
  }

  /** Resolves with the vendor's `dialog_id`. Errors: E_PROVIDER_*. */
  get started(): Promise<string> {
    return this.#started.promise;
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#options.line.isOpen;
  }

  // ---- What the call says ----

  push(pcm: Int16Array): void {
    if (this.#isOver) return;
    this.#framer.push(pcm, (frame) => this.#up.push(bytesOf(frame)));
  }

  /** Before the caller's first turn as a greeting, afterwards as an answer; in the middle of one, when it is over. */
  say(text: string): void {
    if (this.#isSpeaking) this.#toSay = text;
    else this.#say(text);
  }

  text(text: string): void {
    this.#options.line.send(ASK.chatTextQuery, { content: text });
  }

  answer(goesOn: boolean): void {
    this.text(promptAgain(this.#options.call, goesOn));
  }

  toolResult(): void {
    // The vendor has no tools, so that nothing was asked for.
  }

  interrupt(id: string, heardMs: number): void {
    const { line, canTruncate, events } = this.#options;
    const reply = this.#reply;
    if (reply?.id === id) {
      line.send(ASK.interrupt, {});
      this.#forget(reply);
      queueMicrotask(() => events.replyDone(id, [], null));
    }
    if (!canTruncate || id.startsWith(OWN_ID)) return;
    line.send(ASK.truncate, { item_id: id, audio_end_ms: Math.max(0, Math.round(heardMs)) });
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#up.close();
    this.#framer.close();
    this.#down?.close();
    const { line } = this.#options;
    // A connection that is dropped without this is an error at the vendor.
    void line.leave(ASK.finishSession).then(() => line.close());
  }

  // ---- What the vendor says ----

  failed(error: AppError): void {
    if (this.#isOver) return;
    if (this.#hasStarted) this.#options.events.failed(error);
    else this.#started.reject(error);
  }

  garbled(error: AppError): void {
    if (!this.#hasStarted) this.failed(error);
    else if (!this.#isOver) this.#options.events.fault(error);
  }

  /** Errors: E_PROVIDER_SERVER for a payload that cannot be read. */
  frame(frame: VolcFrame): void {
    if (this.#isOver) return;
    if (frame.event === TOLD.audio) this.#sound(frame.payload);
    else this.#read(frame, jsonOf(frame));
  }

  #read(frame: VolcFrame, json: Json): void {
    const { events, service } = this.#options;
    switch (frame.event) {
      case TOLD.sessionStarted:
        this.#hasStarted = true;
        return this.#started.resolve(textAt(json, 'dialog_id'));
      case TOLD.sessionFailed:
        return this.failed(failureOfFrame(service, frame));
      case TOLD.sessionFinished:
      case TOLD.sessionCanceled:
        return this.failed(ended(service));
      case TOLD.asrInfo:
        return this.#began(json);
      case TOLD.asrResponse:
        return this.#heard(json);
      case TOLD.asrEnded:
        return this.#turnOver();
      case TOLD.chatResponse:
        return this.#text(json);
      case TOLD.sentenceStart:
        return this.#sentence(json);
      case TOLD.ttsEnded:
        return this.#ended(textAt(json, 'reply_id'));
      case TOLD.usage:
        return events.usage(usageOf(json));
      case TOLD.dialogError:
        return this.#failedMidway(frame, json);
      case null:
      default:
        return;
    }
  }

  /** The vendor stops its reply by itself when the caller speaks. */
  #began(json: Json): void {
    const { events } = this.#options;
    this.#questionId = textAt(json, 'question_id');
    this.#words = '';
    this.#isSpeaking = true;
    this.#mayAnswer = false;
    this.#saying = null;
    this.#overrides = false;
    events.speechStarted();
    this.#endReply();
  }

  #heard(json: Json): void {
    const [result] = objectsAt(json, 'results');
    const text = textAt(result, 'text');
    if (text === '') return;
    this.#words = text;
    const isFinal = result?.['is_interim'] === false;
    if (!isFinal) this.#options.events.userText(this.#key, text, false);
  }

  /** The last text is the final one, whether the vendor called it so or not. */
  #turnOver(): void {
    const { events } = this.#options;
    const wasSpeaking = this.#isSpeaking;
    this.#isSpeaking = false;
    this.#mayAnswer = true;
    if (wasSpeaking) events.speechStopped();
    this.#endReply();
    if (this.#words !== '') {
      events.took(this.#key, 'comes');
      events.userText(this.#key, this.#words, true);
    }
    this.#words = '';
    const toSay = this.#toSay;
    this.#toSay = null;
    if (toSay !== null) this.#say(toSay);
  }

  get #key(): string {
    return this.#questionId;
  }

  #text(json: Json): void {
    if (this.#overrides) return;
    const content = textAt(json, 'content');
    const reply = this.#replyOf(json);
    if (reply === null || content === '') return;
    reply.hasText = true;
    this.#options.events.agentText(reply.id, content);
  }

  #sentence(json: Json): void {
    const kind = textAt(json, 'tts_type');
    this.#isPlaying = false;
    if (this.#overrides && kind === 'default') return;
    const reply = this.#replyOf(json);
    if (reply === null) return;
    this.#isPlaying = true;
    const said = this.#saying;
    this.#saying = null;
    // The model's words came before, by themselves; moderation speaks others instead.
    const text = said ?? textAt(json, 'text');
    if ((reply.hasText && kind !== 'audit_content_risky') || text === '') return;
    reply.hasText = said !== null;
    this.#options.events.agentText(reply.id, text);
  }

  #sound(bytes: Uint8Array): void {
    const reply = this.#reply;
    if (reply === null || !this.#isPlaying) return;
    const { resampling, events } = this.#options;
    this.#down ??= resampling.open(DOWN_RATE_HZ, 8000);
    events.audio(reply.id, this.#down.convert(samplesOf(bytes)));
  }

  #ended(id: string): void {
    const reply = this.#reply;
    if (reply === null || (reply.isNamed && id !== '' && id !== reply.id)) return;
    if (this.#down !== null) this.#options.events.audio(reply.id, this.#down.convert(TAIL));
    this.#overrides = false;
    this.#endReply();
  }

  #failedMidway(frame: VolcFrame, json: Json): void {
    if (Number(json['status_code'] ?? numberAt(json, 'code')) === NOTHING_TO_DO) return;
    const { service, events } = this.#options;
    const error = failureOfFrame(service, frame);
    const reply = this.#reply;
    if (error.code !== 'E_PROVIDER_CONTENT') return this.failed(error);
    if (reply === null) return events.fault(error);
    this.#forget(reply);
    events.replyDone(reply.id, [], error);
  }

  // ---- Replies ----

  #say(text: string): void {
    const { line } = this.#options;
    this.#saying = text;
    if (!this.#mayAnswer) {
      line.send(ASK.sayHello, { content: text });
      return;
    }
    this.#overrides = true;
    line.send(ASK.chatTtsText, { start: true, content: text, end: false });
    line.send(ASK.chatTtsText, { start: false, content: '', end: true });
  }

  /** The reply that this belongs to, begun now if it is new; null when it is past. */
  #replyOf(json: Json): Reply | null {
    const named = textAt(json, 'reply_id');
    if (this.#past.includes(named)) return null;
    const current = this.#reply;
    if (current !== null && (named === '' || named === current.id)) return current;
    this.#endReply();
    this.#replies += 1;
    const id = named === '' ? `${OWN_ID}${this.#replies}` : named;
    const reply = { id, isNamed: named !== '', hasText: false };
    this.#reply = reply;
    this.#options.events.replyStarted(id);
    return reply;
  }

  #endReply(): void {
    const reply = this.#reply;
    if (reply === null) return;
    this.#forget(reply);
    this.#options.events.replyDone(reply.id, [], null);
  }

  #forget({ id }: Reply): void {
    this.#past.push(id);
    if (this.#past.length > MAX_PAST) this.#past.shift();
    this.#reply = null;
    this.#isPlaying = false;
    this.#down?.close();
    this.#down = null;
  }
}

const MAX_PAST = 32;
/** Of replies that the vendor gave no id. */
const OWN_ID = 'unnamed-';

/** In the middle of a call it means that the vendor recycles sessions: no fault. */
function ended(service: Service): AppError {
  const { message } = failureOf(service, null, 'the vendor ended the session');
  return new AppError('E_PROVIDER_IDLE', message);
}

function usageOf(json: Json): { inputTokens: number; outputTokens: number } {
  const count = (name: string): number => numberAt(json, 'usage', name) ?? 0;
  return {
    inputTokens: count('input_text_tokens') + count('input_audio_tokens'),
    outputTokens: count('output_text_tokens') + count('output_audio_tokens'),
  };
}
