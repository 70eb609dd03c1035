/** What the simulated dialogue says: text first, then sound a piece at a time, until it is done or the caller speaks. */
import type { TimerHandle } from '#lib/clock.ts';
import { bytesOf } from '../rates.ts';
import { simSpeech } from './vendor-voice.ts';
import type { VolcPeer } from './volcengine.ts';
import { playMidway } from './volcengine-faults.ts';
import { audioFrame, eventFrame } from './volcengine-wire.ts';

const RATE_HZ = 24000;
const MIDDLE = 2;
/** One broken message; those after it are in order. */
const GOES_ON: readonly string[] = ['junk', 'garbage', 'swapped', 'lying_length', 'gzip_bomb'];

type Said = { readonly role: 'user' | 'assistant'; text: string; readonly id: string };
type Step = Buffer | { readonly event: number; readonly json: Readonly<Record<string, unknown>> };

export class DialogueReplies {
  readonly #peer: VolcPeer;
  readonly #sessionId: string;
  /** The vendor's memory of the dialogue. */
  readonly #said: Said[];
  #steps: Step[] = [];
  #count = 0;
  #sounds = 0;
  #timer: TimerHandle | undefined;
  #own = '';
  #hasFailed = false;

  constructor(peer: VolcPeer, sessionId: string, said: Said[]) {
    this.#peer = peer;
    this.#sessionId = sessionId;
    this.#said = said;
  }

  /** The model's answer to a question. */
  answer(questionId: string, question: string, text: string): void {
    const { fault } = this.#peer;
    this.stop();
    this.#said.push({ role: 'user', text: question, id: questionId });
    const ids = this.#begin(questionId, text);
    for (const content of text.match(/.{1,6}/gsu) ?? []) {
      this.#steps.push({ event: 550, json: { content, ...ids } });
    }
    this.#steps.push({ event: 559, json: ids });
    if (fault?.kind === 'moderated') this.#speak('换个话题吧。', 'audit_content_risky', ids);
    else this.#speak(text, 'default', ids);
    this.#go(fault?.kind === 'slow' ? fault.ms : 0);
  }

  say(text: string, kind: string): void {
    this.stop();
    this.#speak(text, kind, this.#begin(`hello-${this.#sessionId}`, text));
    this.#go(0);
  }

  /** ChatTTSText: start, more, end; the model's own answer to that question is cut off by the client. */
  ownText({ start, content, end }: Readonly<Record<string, unknown>>): void {
    if (start === true) this.#own = '';
    this.#own += typeof content === 'string' ? content : '';
    if (end !== true) return;
    if (this.#own === '') return this.#peer.state.note('ChatTTSText without text');
    // What the model had begun goes out all the same; it is the client that drops it.
    const ids = this.#begin(`own-${this.#sessionId}`, this.#own);
    this.#speak(this.#own, 'chat_tts_text', ids);
    this.#go(0);
  }

  /** ClientInterrupt: nobody is told. */
  interrupt(): void {
    const { fault, socket } = this.#peer;
    const late = this.#steps.filter((step) => Buffer.isBuffer(step)).slice(0, 3);
    this.stop();
    if (fault?.kind !== 'late') return;
    for (const sound of late) socket.send(audioFrame(this.#sessionId, sound));
  }

  truncate(id: string, endMs: number): boolean {
    const item = this.#said.find((each) => each.id === id);
    if (item === undefined) return false;
    item.text = `${item.text} [to ${endMs} ms]`;
    return true;
  }

  stop(): void {
    this.#peer.state.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#steps = [];
  }

  #begin(questionId: string, text: string): { question_id: string; reply_id: string } {
    this.#count += 1;
    const id = `r-${this.#sessionId}-${this.#count}`;
    this.#said.push({ role: 'assistant', text, id });
    return { question_id: questionId, reply_id: id };
  }

  #speak(text: string, kind: string, ids: Readonly<Record<string, unknown>>): void {
    const { chunkMs = 100 } = this.#peer.state.options;
    const bytes = Buffer.from(bytesOf(simSpeech(text, RATE_HZ)));
    const size = (RATE_HZ / 1000) * chunkMs * 2;
    this.#steps.push({ event: 350, json: { tts_type: kind, text, ...ids } });
    for (let at = 0; at < bytes.length; at += size) this.#steps.push(bytes.subarray(at, at + size));
    const usage = {
      ...{ input_text_tokens: 3, input_audio_tokens: 20 },
      ...{ output_text_tokens: 5, output_audio_tokens: 40 },
    };
    this.#steps.push({ event: 351, json: ids }, { event: 154, json: { usage } });
    this.#steps.push({ event: 359, json: ids });
  }

  #go(afterMs: number): void {
    if (this.#timer !== undefined) return;
    this.#sounds = 0;
    this.#timer = this.#peer.state.clock.setTimer(() => this.#step(), afterMs);
  }

  #step(): void {
    this.#timer = undefined;
    const { socket, state } = this.#peer;
    if (this.#sounds === MIDDLE && !this.#hasFailed && this.#fail()) return;
    const step = this.#steps.shift();
    if (step === undefined) return;
    if (Buffer.isBuffer(step)) {
      this.#sounds += 1;
      socket.send(audioFrame(this.#sessionId, step));
    } else socket.send(eventFrame(step.event, this.#sessionId, step.json));
    this.#timer = state.clock.setTimer(() => this.#step(), state.options.everyMs ?? 1);
  }

  /** True: nothing more is said. */
  #fail(): boolean {
    const { fault, socket } = this.#peer;
    const id = this.#sessionId;
    const kind = fault?.kind === 'own' ? fault.name : fault?.kind;
    const failed = (code: string, message: string): boolean => {
      this.stop();
      socket.send(eventFrame(599, id, { status_code: code, message }));
      return true;
    };
    if (kind === 'recycle') {
      this.stop();
      socket.send(eventFrame(152, id, {}));
      return true;
    }
    if (kind === 'stall') return true;
    if (kind === 'dialog_error') return failed('52000022', 'AudioChatError');
    if (kind === 'risky') return failed('50000000', 'the answer is sensitive');
    this.#hasFailed = playMidway(this.#peer, id);
    return this.#hasFailed && !GOES_ON.includes(kind ?? '');
  }
}
