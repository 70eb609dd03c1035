/** One response of a simulated realtime model: its events in the vendor's order, faster than real time, with its faults. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import {
  DELTA_MS,
  type AudioFormat,
  type RealtimeVendor,
  type SimAnswer,
} from './openai-realtime-kit.ts';
import { simSpeech } from './vendor-voice.ts';
import { simWords } from './tts.ts';
import type { VendorFault } from './vendor-server.ts';

export type ReplyWorld = {
  readonly clock: Clock;
  readonly vendor: RealtimeVendor;
  readonly everyMs: number;
  /** Played once, in this reply; null: all goes well. */
  readonly fault: VendorFault | null;
  readonly newId: (prefix: string) => string;
  readonly send: (event: Record<string, unknown>) => void;
  /** What only the connection can do: cut, hang, recycle, send junk. False: the reply ends here. */
  readonly play: (fault: VendorFault) => boolean;
  /** Before anything is told of it. */
  readonly onItem: (item: ReplyItem) => void;
};

export type ReplyItem = {
  readonly id: string;
  readonly type: 'message' | 'function_call';
  readonly callId: string | null;
  transcript: string;
  audioMs: number;
};

/** After so many deltas the middle of a reply is reached. */
const MIDDLE = 2;

export class SimReplyRun {
  readonly id: string;
  readonly #items: ReplyItem[] = [];
  /** As response.done lists them. */
  readonly #shownItems: Record<string, unknown>[] = [];
  readonly #world: ReplyWorld;
  readonly #answer: SimAnswer;
  readonly #format: AudioFormat;
  #isOver = false;
  #timer: TimerHandle | undefined;

  constructor(world: ReplyWorld, answer: SimAnswer, format: AudioFormat) {
    this.#world = world;
    this.#answer = answer;
    this.#format = format;
    this.id = world.newId('resp');
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  start(): void {
    const { fault, clock, send } = this.#world;
    send({ type: 'response.created', response: this.#response('in_progress') });
    const waitMs = fault?.kind === 'slow' ? fault.ms : this.#world.everyMs;
    this.#timer = clock.setTimer(() => this.#begin(), waitMs);
  }

  /** `reason`: turn_detected or client_cancelled. */
  cancel(reason: string): void {
    if (this.#isOver) return;
    const { fault, clock, everyMs } = this.#world;
    clock.clearTimer(this.#timer);
    this.#finish('cancelled', { type: 'cancelled', reason });
    const message = this.#items.find((item) => item.type === 'message');
    if (fault?.kind !== 'late' || message === undefined) return;
    // The vendor's pipeline still had some in it.
    this.#timer = clock.setTimer(() => {
      const pcm = new Int16Array((this.#format.rateHz * DELTA_MS) / 1000).fill(9_000);
      this.#sound(message, pcm);
      this.#words(message, ' too late');
    }, everyMs);
  }

  /** The socket is gone. */
  stop(): void {
    this.#isOver = true;
    this.#world.clock.clearTimer(this.#timer);
  }

  #begin(): void {
    if (this.#answer.text === '') return this.#calls();
    const { send, vendor, newId } = this.#world;
    const item: ReplyItem = {
      ...{ id: newId('item'), type: 'message', callId: null, transcript: '', audioMs: 0 },
    };
    this.#items.push(item);
    this.#world.onItem(item);
    const shown = { id: item.id, object: 'realtime.item', type: 'message', status: 'in_progress' };
    const place = { response_id: this.id, output_index: 0 };
    send({
      ...{ type: 'response.output_item.added', ...place },
      item: { ...shown, role: 'assistant', content: [] },
    });
    send({ type: vendor.names.itemAdded, item: { ...shown, role: 'assistant', content: [] } });
    send({
      ...{ type: 'response.content_part.added', ...place, item_id: item.id, content_index: 0 },
      part: { type: 'audio', transcript: '' },
    });
    this.#speak(item);
  }

  #speak(item: ReplyItem): void {
    const { text } = this.#answer;
    const pcm = simSpeech(text, this.#format.rateHz);
    const step = (this.#format.rateHz * DELTA_MS) / 1000;
    const words = simWords(text);
    let said = 0;
    let at = 0;
    const next = (): void => {
      if (this.#isOver) return;
      const index = at / step;
      if (index === MIDDLE && !this.#middle()) return;
      if (at >= pcm.length) return this.#spoken(item);
      // The words of a stretch of sound come before it, as real ones do.
      if (index % 2 === 0) {
        const end = words[index / 2]?.end ?? text.length;
        this.#words(item, text.slice(said, end));
        said = end;
      }
      this.#sound(item, pcm.subarray(at, at + step));
      at += step;
      this.#timer = this.#world.clock.setTimer(next, this.#world.everyMs);
    };
    next();
  }

  #middle(): boolean {
    const { fault } = this.#world;
    if (fault === null) return true;
    if (fault.kind === 'fail_midway') {
      const error = { type: 'server_error', code: 'server_error', message: 'scripted' };
      this.#finish('failed', { type: 'failed', error });
      return false;
    }
    if (fault.kind === 'moderated') {
      this.#finish('incomplete', { type: 'incomplete', reason: 'content_filter' });
      return false;
    }
    return this.#world.play(fault);
  }

  #words(item: ReplyItem, delta: string): void {
    if (delta === '') return;
    item.transcript += delta;
    this.#world.send({ type: this.#world.vendor.names.transcriptDelta, ...this.#at(item), delta });
  }

  #sound(item: ReplyItem, pcm: Int16Array): void {
    item.audioMs += (pcm.length * 1000) / this.#format.rateHz;
    const delta = this.#format.encode(pcm).toString('base64');
    this.#world.send({ type: this.#world.vendor.names.audioDelta, ...this.#at(item), delta });
  }

  #spoken(item: ReplyItem): void {
    const { send, vendor } = this.#world;
    const at = this.#at(item);
    send({ type: vendor.names.audioDone, ...at });
    send({ type: vendor.names.transcriptDone, ...at, transcript: item.transcript });
    const part = { type: 'audio', transcript: item.transcript };
    send({ type: 'response.content_part.done', ...at, part });
    this.#itemDone(item, 0, this.#shown(item, 'completed'));
    this.#calls();
  }

  #calls(): void {
    const { send, vendor, newId } = this.#world;
    for (const call of this.#answer.calls ?? []) {
      const index = this.#items.length;
      const callId = newId('call');
      const item: ReplyItem = {
        ...{ id: newId('item'), type: 'function_call', callId, transcript: '', audioMs: 0 },
      };
      this.#items.push(item);
      this.#world.onItem(item);
      const args = JSON.stringify(call.arguments);
      const place = { response_id: this.id, output_index: index };
      const shown = { id: item.id, type: 'function_call', call_id: callId, name: call.name };
      send({
        ...{ type: 'response.output_item.added', ...place },
        item: { ...shown, status: 'in_progress', arguments: '' },
      });
      send({ type: vendor.names.itemAdded, item: { ...shown, arguments: '' } });
      const at = { ...place, item_id: item.id, call_id: callId };
      const cut = Math.ceil(args.length / 2);
      for (const delta of [args.slice(0, cut), args.slice(cut)]) {
        send({ type: 'response.function_call_arguments.delta', ...at, delta });
      }
      send({
        ...{ type: 'response.function_call_arguments.done', ...at },
        ...{ name: call.name, arguments: args },
      });
      this.#shownItems.push({ ...shown, status: 'completed', arguments: args });
      this.#itemDone(item, index, { ...shown, status: 'completed', arguments: args });
    }
    this.#finish('completed', null);
  }

  #itemDone(item: ReplyItem, index: number, shown: Record<string, unknown>): void {
    const { send, vendor } = this.#world;
    if (item.type === 'message') this.#shownItems.push(shown);
    const place = { response_id: this.id, output_index: index };
    send({ type: 'response.output_item.done', ...place, item: shown });
    if (vendor.names.itemDone !== null) send({ type: vendor.names.itemDone, item: shown });
  }

  #finish(status: string, details: Record<string, unknown> | null): void {
    this.#isOver = true;
    const { send } = this.#world;
    const message = this.#items.find((item) => item.type === 'message');
    if (status !== 'completed' && message !== undefined) {
      this.#itemDone(message, 0, this.#shown(message, 'incomplete'));
    }
    send({
      type: 'response.done',
      response: {
        ...this.#response(status),
        ...{ status_details: details, output: this.#shownItems },
        usage: { total_tokens: 150, input_tokens: 100, output_tokens: 50 },
      },
    });
  }

  #at(item: ReplyItem): Record<string, unknown> {
    return { response_id: this.id, item_id: item.id, output_index: 0, content_index: 0 };
  }

  #shown(item: ReplyItem, status: string): Record<string, unknown> {
    const content = [{ type: 'output_audio', transcript: item.transcript }];
    return { id: item.id, type: 'message', role: 'assistant', status, content };
  }

  #response(status: string): Record<string, unknown> {
    return { id: this.id, object: 'realtime.response', status, output: [], usage: null };
  }
}
