/** One connection to a model service: JSON frames for what happens, binary frames for sound. */
import { AppError, toAppError } from '#lib/errors.ts';
import type { TimerHandle } from '#lib/clock.ts';
import type { ToolCall } from '../contract.ts';
import { CallerSound, pcmCoding, ReplySound, type Coding } from '../realtime-audio.ts';
import { refusalOf } from '../realtime-errors.ts';
import { numberAt, parseObject, textAt, type Json } from '../realtime-json.ts';
import type { LineCall, LineEvents, RealtimeLine } from '../realtime-line.ts';
import { PlayedItems } from '../realtime-played.ts';
import type { VendorTools } from '../vendor.ts';
import { openChannel, type Channel } from '../ws-channel.ts';
import { argumentsOf, errorFrame, readReady, startFrame, type Rates } from './protocol.ts';

export type ModelLineSettings = {
  readonly setting: string;
  readonly url: string;
  /** Empty: none is sent. */
  readonly apiKey: string;
  /** Empty: the server has but one. */
  readonly model: string;
  readonly ca: string;
  readonly rates: Rates;
  readonly isResumed: boolean;
  readonly tools: VendorTools;
  readonly connectMs: number;
  readonly startMs: number;
};

const FRAME_MS = 20;
const WHAT = 'model service';
type Resampling = Awaited<ReturnType<VendorTools['resampling']>>;

/** Errors: those of `RealtimeSettings.connect`. */
export async function openModelLine(
  settings: ModelLineSettings,
  call: LineCall,
  events: LineEvents,
  signal: AbortSignal,
): Promise<RealtimeLine> {
  const line = new ModelLine(settings, call, events, await settings.tools.resampling());
  try {
    await line.open(signal);
    return line;
  } catch (error) {
    line.close();
    throw toAppError(error, 'E_PROVIDER_SERVER');
  }
}

type Sound = { readonly caller: CallerSound; readonly coding: Coding; readonly reply: ReplySound };

class ModelLine implements RealtimeLine {
  readonly lastsMs = null;
  readonly #settings: ModelLineSettings;
  readonly #call: LineCall;
  readonly #events: LineEvents;
  readonly #resampling: Resampling;
  readonly #played = new PlayedItems();
  #channel: Channel | null = null;
  #sound: Sound | null = null;
  #starting: { resolve(frame: Json): void; reject(error: AppError): void } | null = null;
  #timer: TimerHandle | undefined;
  /** The turn under way; null: none is, and sound has no place. */
  #turn: string | null = null;
  #calls: ToolCall[] = [];
  #error: AppError | null = null;
  #utterances = 0;
  #isOver = false;

  constructor(
    settings: ModelLineSettings,
    call: LineCall,
    events: LineEvents,
    resampling: Resampling,
  ) {
    this.#settings = settings;
    this.#call = call;
    this.#events = events;
    this.#resampling = resampling;
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#channel?.isOpen === true;
  }

  async open(signal: AbortSignal): Promise<void> {
    const { setting, url, apiKey, ca, tools, connectMs, startMs, model, rates, isResumed } =
      this.#settings;
    // A service may refuse with its first breath, before this side knows that it is connected.
    const ready = Promise.withResolvers<Json>();
    this.#starting = ready;
    const answer = ready.promise.then(
      (frame) => ({ frame }),
      (error: AppError) => ({ error }),
    );
    try {
      this.#channel = await openChannel(
        {
          ...{ url, what: WHAT, clock: tools.clock, connectMs },
          headers: apiKey === '' ? {} : { Authorization: `Bearer ${apiKey}` },
          ...(ca === '' ? {} : { tls: { ca } }),
          refused: (status, body) => refusalOf(setting, WHAT, status, body),
          onText: (text) => this.#received(text),
          onBinary: (data) => this.#heard(data),
          onEnd: (error) => this.#ended(error),
        },
        signal,
      );
      this.#timer = tools.clock.setTimer(
        () => ready.reject(new AppError('E_TIMEOUT', `${WHAT}: not ready in ${startMs} ms`)),
        startMs,
      );
      this.#post(startFrame(this.#call, model, rates, isResumed));
      const got = await answer;
      if ('error' in got) throw got.error;
      const { inputHz, outputHz } = readReady(got.frame, rates);
      this.#sound = {
        caller: new CallerSound(this.#resampling, inputHz, FRAME_MS),
        coding: pcmCoding(inputHz),
        reply: new ReplySound(this.#resampling, pcmCoding(outputHz)),
      };
    } finally {
      this.#starting = null;
      tools.clock.clearTimer(this.#timer);
    }
  }

  push(pcm: Int16Array): void {
    const sound = this.#sound;
    if (sound === null || this.#isOver) return;
    sound.caller.push(pcm, (frame) => this.#channel?.send(sound.coding.encode(frame)));
  }

  say(text: string): void {
    this.#post({ type: 'say', text });
  }

  text(text: string): void {
    this.#post({ type: 'text', text });
  }

  answer(goesOn: boolean): void {
    this.#post({ type: 'answer', goes_on: goesOn });
  }

  toolResult(id: string, content: string): void {
    this.#post({ type: 'tool_result', id, content });
  }

  interrupt(reply: string, heardMs: number): void {
    // A turn that was heard whole counts too: the service learns what its caller knows.
    const [cut] = this.#played.cuts(reply, heardMs, true);
    this.#post({ type: 'interrupt', turn: reply, heard_ms: cut?.endMs ?? 0 });
  }

  close(): void {
    if (this.#isOver) return;
    this.#post({ type: 'end' });
    this.#giveBack();
    this.#channel?.close();
  }

  // ---- What comes ----

  #received(text: string): void {
    if (this.#isOver) return;
    const frame = parseObject(text);
    if (frame === null) return this.#odd('text that is no JSON object');
    const type = textAt(frame, 'type');
    if (type === 'error') this.#refused(frame);
    else if (this.#starting !== null) {
      if (type === 'ready') this.#starting.resolve(frame);
    } else if (/^(turn_|agent_|tool_)/.test(type)) this.#ofTurn(type, frame);
    else if (type === 'speech_started') this.#events.speechStarted();
    else if (type === 'speech_stopped') {
      this.#events.speechStopped();
      const answer = frame['answer'] === false ? 'none' : 'comes';
      this.#events.took(`${++this.#utterances}`, answer);
    } else if (type === 'user_transcript') {
      const isFinal = frame['final'] === true;
      this.#events.userText(`${this.#utterances}`, textAt(frame, 'text'), isFinal);
    } else if (type === 'usage') this.#usage(frame);
    // Anything else belongs to a later edition of the protocol.
  }

  #ofTurn(type: string, frame: Json): void {
    if (type === 'turn_started') return this.#turnStarted(frame);
    const turn = this.#turn;
    if (turn === null) return this.#odd(`${type} outside a turn`);
    if (type === 'agent_text') this.#events.agentText(turn, textAt(frame, 'text'));
    else if (type === 'tool_call') {
      const [id, name, args] = [textAt(frame, 'id'), textAt(frame, 'name'), argumentsOf(frame)];
      if (id === '' || name === '' || args === null) this.#odd('a tool_call without id or name');
      else this.#calls.push({ id, name, arguments: args });
    } else if (type === 'turn_done') this.#turnDone(turn);
  }

  #turnStarted(frame: Json): void {
    const turn = textAt(frame, 'turn');
    if (turn === '') return this.#odd('turn_started without turn');
    if (this.#turn !== null) this.#turnDone(this.#turn);
    this.#turn = turn;
    this.#calls = [];
    this.#error = null;
    this.#events.replyStarted(turn);
  }

  #turnDone(turn: string): void {
    const tail = this.#sound?.reply.end();
    if (tail !== undefined && tail.length > 0) this.#events.audio(turn, tail);
    this.#turn = null;
    this.#events.replyDone(turn, this.#error === null ? this.#calls : [], this.#error);
  }

  #heard(data: Buffer): void {
    if (this.#isOver) return;
    const turn = this.#turn;
    if (turn === null || this.#sound === null) return this.#odd('sound outside a turn');
    const { pcm, ms } = this.#sound.reply.next(data);
    this.#played.made(turn, turn, 0, ms);
    this.#events.audio(turn, pcm);
  }

  #usage(frame: Json): void {
    this.#events.usage({
      inputTokens: numberAt(frame, 'input_tokens') ?? 0,
      outputTokens: numberAt(frame, 'output_tokens') ?? 0,
    });
  }

  #refused(frame: Json): void {
    const error = errorFrame(this.#settings.setting, frame);
    if (this.#starting !== null) this.#starting.reject(error);
    else if (frame['fatal'] === true) this.#fail(error);
    // What goes wrong in a turn is why the turn ends early.
    else if (this.#turn !== null) this.#error = error;
    else if (textAt(frame, 'of') !== '') this.#events.declined(error);
    else this.#events.fault(error);
  }

  #odd(what: string): void {
    this.#events.fault(new AppError('E_PROVIDER_SERVER', `${WHAT}: ${what} came`));
  }

  // ---- The end ----

  #ended(error: AppError): void {
    if (this.#starting !== null) this.#starting.reject(error);
    else this.#fail(error);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#giveBack();
    this.#channel?.close();
    this.#events.failed(error);
  }

  #giveBack(): void {
    this.#isOver = true;
    this.#settings.tools.clock.clearTimer(this.#timer);
    this.#starting?.reject(new AppError('E_ABORTED', `${WHAT}: given up`));
    this.#sound?.caller.close();
    this.#sound?.reply.close();
  }

  #post(frame: Json): void {
    this.#channel?.send(JSON.stringify(frame));
  }
}
