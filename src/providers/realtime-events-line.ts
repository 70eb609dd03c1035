/** One connection to a vendor that speaks OpenAI's realtime events, in either dialect. */
import { AppError, toAppError } from '#lib/errors.ts';
import type { TimerHandle } from '#lib/clock.ts';
import type { ChatMessage, ToolCall } from './contract.ts';
import { appendMessage } from './realtime-append.ts';
import { CallerSound, ReplySound, type Coding } from './realtime-audio.ts';
import { readAudioDelta, type AudioDelta } from './realtime-delta.ts';
import { ASSISTANT_TEXT, gaName, type DialectName } from './realtime-dialect.ts';
import { errorOf, refusalOf, responseError } from './realtime-errors.ts';
import { numberAt, objectsAt, parseObject, pick, textAt, type Json } from './realtime-json.ts';
import type { LineCall, LineEvents, RealtimeLine } from './realtime-line.ts';
import { PlayedItems } from './realtime-played.ts';
import type { VendorTools } from './vendor.ts';
import { openChannel, type Channel, type ChannelOptions } from './ws-channel.ts';

export type EventsLineSettings = {
  readonly vendor: string;
  /** Whom to name when a key is refused. */
  readonly setting: string;
  readonly dialect: DialectName;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls?: NonNullable<ChannelOptions['tls']>;
  readonly tools: VendorTools;
  readonly input: Coding;
  /** Of each message of the caller's sound; null: as it comes. */
  readonly frameMs: number | null;
  readonly output: Coding;
  /** The body of session.update for this call. */
  session(call: LineCall): Json;
  /** Whether the conversation takes messages; else words go into instructions. */
  readonly takesMessages: boolean;
  readonly truncates: boolean;
  /** The vendor stops its reply by itself when it hears the caller. */
  readonly interruptsItself: boolean;
  /** Wants to be told of the end. */
  readonly finishes: boolean;
  /** From connected to listening. Default 3000. */
  readonly startMs?: number;
  readonly connectMs?: number;
};

const START_MS = 3_000;
const FINISH_MS = 1_000;
/** Refusals of what may cross with the vendor's own doings: they say nothing new. */
const HARMLESS = new Set(['response_cancel_not_active', 'item_truncate_invalid_item_id']);
const BUSY = 'conversation_already_has_active_response';

/** Errors: those of `RealtimeSettings.connect`. */
export async function openEventsLine(
  settings: EventsLineSettings,
  call: LineCall,
  events: LineEvents,
  signal: AbortSignal,
): Promise<RealtimeLine> {
  const line = new EventsLine(settings, call, events, await settings.tools.resampling());
  try {
    await line.open(signal);
    return line;
  } catch (error) {
    line.close();
    throw toAppError(error, 'E_PROVIDER_SERVER');
  }
}

type Resampling = Awaited<ReturnType<VendorTools['resampling']>>;

class EventsLine implements RealtimeLine {
  readonly #settings: EventsLineSettings;
  readonly #call: LineCall;
  readonly #events: LineEvents;
  readonly #caller: CallerSound;
  readonly #sound: ReplySound;
  readonly #played = new PlayedItems();
  readonly #partials = new Map<string, string>();
  /** Functions asked for in the reply under way, by the vendor's id. */
  readonly #calls = new Map<string, ToolCall>();
  /** Calls that the conversation of this connection knows. */
  readonly #known = new Set<string>();
  readonly #notes: string[] = [];
  #channel: Channel | null = null;
  #starting: { resolve(): void; reject(error: AppError): void } | null = null;
  #timer: TimerHandle | undefined;
  #active: string | null = null;
  /** The vendor has heard the caller since the reply began. */
  #wasInterrupted = false;
  #lastsMs: number | null = null;
  #count = 0;
  #lastCreate = '';
  #isOver = false;

  constructor(
    settings: EventsLineSettings,
    call: LineCall,
    events: LineEvents,
    resampling: Resampling,
  ) {
    this.#settings = settings;
    this.#call = call;
    this.#events = events;
    this.#caller = new CallerSound(resampling, settings.input.rateHz, settings.frameMs);
    this.#sound = new ReplySound(resampling, settings.output);
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#channel?.isOpen === true;
  }

  get lastsMs(): number | null {
    return this.#lastsMs;
  }

  async open(signal: AbortSignal): Promise<void> {
    const { vendor, url, headers, tls, tools, connectMs, setting } = this.#settings;
    const what = `${vendor} realtime`;
    // The vendor may speak before this side knows that it is connected.
    const ready = Promise.withResolvers<null>();
    this.#starting = { resolve: () => ready.resolve(null), reject: ready.reject };
    const answer = ready.promise.catch((error: AppError) => error);
    const { startMs = START_MS } = this.#settings;
    try {
      this.#channel = await openChannel(
        {
          ...{ url, headers, what, clock: tools.clock },
          ...(tls === undefined ? {} : { tls }),
          ...(connectMs === undefined ? {} : { connectMs }),
          refused: (status, body) => refusalOf(setting, what, status, body),
          onText: (text) => this.#received(text),
          onBinary: () => this.#odd('binary data'),
          onEnd: (error) => this.#ended(error),
        },
        signal,
      );
      this.#timer = tools.clock.setTimer(
        () => ready.reject(new AppError('E_TIMEOUT', `${what}: not ready in ${startMs} ms`)),
        startMs,
      );
      this.#post('session.update', { session: this.#settings.session(this.#call) });
      const refusal = await answer;
      if (refusal !== null) throw refusal;
      for (const message of this.#call.history) this.#replay(message);
    } finally {
      this.#starting = null;
      tools.clock.clearTimer(this.#timer);
    }
  }

  push(pcm: Int16Array): void {
    if (this.#isOver) return;
    this.#caller.push(pcm, this.#sendFrame);
  }

  /** One function for all frames: the call with a model sends fifty a second. */
  readonly #sendFrame = (frame: Int16Array): void => {
    this.#channel?.sendText(appendMessage(this.#settings.input.encode(frame)));
  };

  say(text: string): void {
    const plain = text.replaceAll('"""', '"');
    this.#create({
      instructions: `Say exactly the text between the triple quotes, word for word, in its own language, and nothing else.\n"""${plain}"""`,
      ...(this.#settings.takesMessages ? { input: [], tool_choice: 'none' } : {}),
    });
  }

  text(text: string): void {
    if (this.#settings.takesMessages) {
      this.#item({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] });
      this.#create(null);
    } else this.#create({ instructions: this.#with(`The caller has just written: ${text}`) });
  }

  answer(goesOn: boolean): void {
    const note =
      'The connection broke while you were speaking. Go on where your last words end; do not repeat them.';
    const notes = [...this.#notes.splice(0), ...(goesOn ? [note] : [])];
    this.#create(notes.length > 0 ? { instructions: this.#with(notes.join('\n')) } : null);
  }

  toolResult(id: string, content: string): void {
    if (this.#known.has(id)) {
      this.#item({ type: 'function_call_output', call_id: id, output: content });
    } else {
      // Asked for on a connection before this one, which was told with words.
      this.#notes.push(`The function call ${id} has given this result: ${content}`);
    }
  }

  interrupt(reply: string, heardMs: number): void {
    const isActive = reply === this.#active;
    if (isActive && !(this.#settings.interruptsItself && this.#wasInterrupted)) {
      this.#post('response.cancel', {});
    }
    if (!this.#settings.truncates) return;
    for (const { itemId, contentIndex, endMs } of this.#played.cuts(reply, heardMs, isActive)) {
      this.#post('conversation.item.truncate', {
        ...{ item_id: itemId, content_index: contentIndex, audio_end_ms: endMs },
      });
    }
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { clock } = this.#settings.tools;
    clock.clearTimer(this.#timer);
    this.#starting?.reject(new AppError('E_ABORTED', 'given up'));
    this.#caller.close();
    this.#sound.close();
    const channel = this.#channel;
    if (channel === null) return;
    if (!this.#settings.finishes || !channel.isOpen) return channel.close();
    this.#post('session.finish', {});
    this.#timer = clock.setTimer(() => channel.close(), FINISH_MS);
  }

  // ---- What goes ----

  #post(type: string, more: Json): void {
    const event_id = `c${++this.#count}`;
    if (type === 'response.create') this.#lastCreate = event_id;
    this.#channel?.send(JSON.stringify({ type, event_id, ...more }));
  }

  #create(response: Json | null): void {
    this.#post('response.create', response === null ? {} : { response });
  }

  #item(item: Json): void {
    this.#post('conversation.item.create', { item });
  }

  /** What is said for one response takes the place of the session's instructions. */
  #with(note: string): string {
    return [this.#call.instructions, note].filter(Boolean).join('\n\n');
  }

  #replay({ role, content, toolCalls = [], toolCallId = '' }: ChatMessage): void {
    if (!this.#settings.takesMessages) return;
    if (role === 'tool') return this.toolResult(toolCallId, content);
    const type = role === 'assistant' ? ASSISTANT_TEXT[this.#settings.dialect] : 'input_text';
    if (content !== '') this.#item({ type: 'message', role, content: [{ type, text: content }] });
    for (const call of toolCalls) {
      this.#known.add(call.id);
      const args = JSON.stringify(call.arguments);
      this.#item({ type: 'function_call', call_id: call.id, name: call.name, arguments: args });
    }
  }

  // ---- What comes ----

  #received(text: string): void {
    const delta = readAudioDelta(text);
    // As below, of a line that is up: late ones, and those of a reply that is over, are not wanted.
    if (delta !== null && this.#starting === null) {
      if (!this.#isOver && delta.reply === this.#active) this.#audio(delta);
      return;
    }
    const event = parseObject(text);
    if (event === null) return this.#odd('text that is no JSON');
    const type = gaName(textAt(event, 'type'));
    if (this.#isOver) {
      if (type === 'session.finished') this.#hangUp();
    } else if (type === 'error') this.#refused(event);
    else if (this.#starting !== null) this.#begun(type, event);
    else if (type.startsWith('response.')) this.#ofReply(type, event);
    else this.#ofCaller(type, event);
  }

  #begun(type: string, event: Json): void {
    if (type === 'session.updated') this.#starting?.resolve();
    if (type !== 'session.created') return;
    const expiresAt = numberAt(event, 'session', 'expires_at');
    if (expiresAt === null) return;
    const inMs = expiresAt * 1000 - this.#settings.tools.clock.wallMs();
    if (inMs > 0) this.#lastsMs = inMs;
  }

  #ofCaller(type: string, event: Json): void {
    const key = textAt(event, 'item_id');
    if (type === 'input_audio_buffer.speech_started') {
      this.#wasInterrupted = true;
      this.#events.speechStarted();
    } else if (type === 'input_audio_buffer.speech_stopped') this.#events.speechStopped();
    else if (type === 'input_audio_buffer.committed') {
      // A vendor that lets itself be talked over does not know what of it is to be answered.
      this.#events.took(key, this.#settings.interruptsItself ? 'comes' : 'ask');
    } else if (type.startsWith('conversation.item.input_audio_transcription.')) {
      this.#words(type, key, event);
    } else if (type === 'session.finished') {
      this.#fail(new AppError('E_PROVIDER_SERVER', 'the vendor ended the session'));
    }
  }

  #words(type: string, key: string, event: Json): void {
    if (type.endsWith('.delta')) {
      const text = (this.#partials.get(key) ?? '') + textAt(event, 'delta');
      this.#partials.set(key, text);
      if (text.trim() !== '') this.#events.userText(key, text, false);
      return;
    }
    const isRead = type.endsWith('.completed');
    if (!isRead && !type.endsWith('.failed')) return;
    const said = isRead ? textAt(event, 'transcript') : (this.#partials.get(key) ?? '');
    this.#partials.delete(key);
    this.#events.userText(key, said.trim(), true);
  }

  #ofReply(type: string, event: Json): void {
    const reply = textAt(event, 'response_id') || textAt(event, 'response', 'id');
    if (type === 'response.created') {
      this.#active = reply;
      this.#wasInterrupted = false;
      this.#calls.clear();
      this.#sound.end();
      this.#events.replyStarted(reply);
    } else if (reply !== this.#active) {
      // Of a reply that is over: late, and not wanted.
    } else if (type === 'response.output_audio.delta') {
      const contentIndex = numberAt(event, 'content_index') ?? 0;
      const itemId = textAt(event, 'item_id');
      this.#audio({ reply, itemId, contentIndex, base64: textAt(event, 'delta') });
    } else if (/^response\.output_(audio_transcript|text)\.delta$/.test(type)) {
      this.#events.agentText(reply, textAt(event, 'delta'));
    } else if (type === 'response.function_call_arguments.done') this.#asked(event);
    else if (type === 'response.done') this.#done(reply, event);
  }

  #audio({ reply, itemId, contentIndex, base64 }: AudioDelta): void {
    const { pcm, ms } = this.#sound.next(Buffer.from(base64, 'base64'));
    this.#played.made(reply, itemId, contentIndex, ms);
    this.#events.audio(reply, pcm);
  }

  /** Kept until the reply is whole: what a cancelled one asked for is cut off anywhere. */
  #asked(event: Json): void {
    const id = textAt(event, 'call_id');
    const args = parseObject(textAt(event, 'arguments') || '{}');
    if (id === '' || args === null) return;
    this.#calls.set(id, { id, name: textAt(event, 'name'), arguments: args });
  }

  #done(reply: string, event: Json): void {
    for (const item of objectsAt(event, 'response', 'output')) {
      if (item['type'] === 'function_call') this.#asked(item);
    }
    const status = textAt(event, 'response', 'status');
    const isWhole = status === 'completed' || status === '';
    const calls = isWhole ? [...this.#calls.values()].filter(({ name }) => name !== '') : [];
    for (const { id } of calls) this.#known.add(id);
    this.#calls.clear();
    this.#active = null;
    const tail = this.#sound.end();
    if (isWhole && tail.length > 0) this.#events.audio(reply, tail);
    this.#usage(pick(event, 'response', 'usage'));
    this.#events.replyDone(reply, calls, responseError(this.#settings.vendor, event));
  }

  #usage(usage: unknown): void {
    const inputTokens = numberAt(usage, 'input_tokens');
    const outputTokens = numberAt(usage, 'output_tokens');
    if (inputTokens === null && outputTokens === null) return;
    this.#events.usage({ inputTokens: inputTokens ?? 0, outputTokens: outputTokens ?? 0 });
  }

  /** Most errors leave the session as it was. */
  #refused(event: Json): void {
    const code = textAt(event, 'error', 'code');
    const { vendor, setting } = this.#settings;
    const { error, isFatal } = errorOf(vendor, setting, event);
    if (this.#starting !== null) return this.#starting.reject(error);
    if (isFatal) return this.#fail(error);
    if (HARMLESS.has(code)) return;
    const isMine = textAt(event, 'error', 'event_id') === this.#lastCreate;
    if (code === BUSY) this.#events.busy();
    else if (isMine) this.#events.declined(error);
    else this.#events.fault(error);
  }

  #odd(what: string): void {
    if (this.#isOver) return;
    const { vendor } = this.#settings;
    this.#events.fault(new AppError('E_PROVIDER_SERVER', `${vendor} realtime: ${what} came`));
  }

  #ended(error: AppError): void {
    this.#settings.tools.clock.clearTimer(this.#timer);
    if (this.#starting !== null) this.#starting.reject(error);
    else this.#fail(error);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#hangUp();
    this.#isOver = true;
    this.#caller.close();
    this.#sound.close();
    this.#events.failed(error);
  }

  #hangUp(): void {
    this.#settings.tools.clock.clearTimer(this.#timer);
    this.#channel?.close();
  }
}
