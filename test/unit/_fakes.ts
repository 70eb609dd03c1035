/** Stand-ins for the planes around a call, on a simulated clock: a media session that "plays" by the clock, a leg. */
import { setImmediate } from 'node:timers/promises';
import type { JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock, type TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import type { BackgroundSound, MediaParty } from '#media/mix/mix-types.ts';
import type {
  DtmfTones,
  MediaClosed,
  MediaEvent,
  MediaSession,
  MediaTap,
  NegotiatedAudio,
  RecordingResult,
  WebAudio,
} from '#media/types.ts';
import type {
  LlmProvider,
  ProviderSet,
  ReplyPart,
  SttEvent,
  TtsProvider,
} from '#providers/contract.ts';
import { AudioPump } from '#sessions/audio-pump.ts';
import type { CallDeps } from '#sessions/call.ts';
import type { Answered, Leg, LegEvents, Refusal } from '#sessions/leg.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { CallStory } from '#sessions/story.ts';
import type { ToolBox } from '#sessions/tool-box.ts';
import type { SipDialog, SipEnd } from '#sip/types.ts';

export const AUDIO: NegotiatedAudio = {
  codec: 'PCMA',
  payloadType: 8,
  receivePayloadType: 8,
  dtmfPayloadType: 101,
  remoteAddress: '192.0.2.9',
  remotePort: 4000,
  send: true,
  receive: true,
};

export const AGENT: AgentConfig = {
  id: '00000000-0000-4000-8000-000000000002',
  accountId: '00000000-0000-4000-8000-000000000001',
  name: 'Default agent',
  systemPrompt: '',
  greeting: 'Hello there my friend',
  language: 'en',
  vendors: { stt: null, llm: null, tts: null },
  llm: { model: null, temperature: null, maxTokens: null },
  voice: null,
  turn: { endpointMinMs: 500, bargeIn: true, bargeInConfirmMs: 500, falseBargeInMs: 2000 },
  silence: { promptAfterS: 12, prompts: 2, promptText: null, hangupAfterS: 30 },
  functions: [],
  maxDurationS: 600,
  maxHistory: 40,
  recording: null,
  variables: {},
  autoSummary: true,
  maskAtRest: false,
};

/** Lets everything that is ready run; no time passes. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await setImmediate();
}

const RECORDING: RecordingResult = {
  ...{ path: '/r.cyr', durationMs: 1000, bytes: 32_044, truncated: false },
  sha256: 'ab'.repeat(32),
};

const RING_MS = 8000;

/** Plays what is written at the speed of the clock, and reports like the worker would. */
export class FakeMedia implements MediaSession {
  readonly localAddress = '192.0.2.1';
  readonly localPort = 20_000;
  web: WebAudio | null = null;
  readonly log: string[];
  readonly #clock: SimulatedClock;
  #listener: (event: MediaEvent) => void = () => undefined;
  #startMs = 0;
  readonly #queue: { number: number; queuedMs: number; ended: boolean; startMs: number | null }[] =
    [];
  #isClosed = false;
  /** Gives up a write that waits for room. */
  readonly #waiting: (() => void)[] = [];
  #timer: TimerHandle | undefined;

  constructor(clock: SimulatedClock, log: string[]) {
    this.#clock = clock;
    this.log = log;
  }

  #at(): number {
    return this.#clock.now() - this.#startMs;
  }

  emit(event: MediaEvent): void {
    this.#listener(event);
  }

  start(): void {
    this.#startMs = this.#clock.now();
    this.log.push('media.start');
  }

  onEvent(listener: (event: MediaEvent) => void): void {
    this.#listener = listener;
  }

  readCaller(): number {
    return 0;
  }

  beginUtterance(utterance: number): void {
    this.#queue.push({ number: utterance, queuedMs: 0, ended: false, startMs: null });
  }

  write(utterance: number, pcm: Int16Array): Promise<void> {
    const written = this.#queue.find(({ number }) => number === utterance);
    if (this.#isClosed || written === undefined) {
      return Promise.reject(new AppError('E_ABORTED', 'flushed'));
    }
    written.queuedMs += pcm.length / 8;
    this.#play();
    return this.#room(written);
  }

  /** Once no more than the ring's length waits to be played, as in the media plane. */
  #room(written: { readonly queuedMs: number; readonly startMs: number | null }): Promise<void> {
    const playedMs = written.startMs === null ? 0 : this.#at() - written.startMs;
    const waitMs = written.queuedMs - playedMs - RING_MS;
    if (waitMs <= 0) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = this.#clock.setTimer(resolve, waitMs);
    this.#waiting.push(() => {
      this.#clock.clearTimer(timer);
      reject(new AppError('E_ABORTED', 'flushed'));
    });
    return promise;
  }

  endUtterance(utterance: number): void {
    const ended = this.#queue.find(({ number }) => number === utterance);
    if (ended === undefined) return;
    ended.ended = true;
    this.#play();
  }

  /** The first in the queue plays; when it has ended and its time is over, the next one follows. */
  #play(): void {
    const current = this.#queue[0];
    if (current === undefined) return;
    if (current.startMs === null && current.queuedMs > 0) {
      current.startMs = this.#at();
      const wireMs = performance.timeOrigin + this.#clock.now();
      this.emit({ type: 'playout.started', atMs: this.#at(), utterance: current.number, wireMs });
    }
    if (!current.ended) return;
    this.#clock.clearTimer(this.#timer);
    const leftMs = current.startMs === null ? 0 : current.startMs + current.queuedMs - this.#at();
    this.#timer = this.#clock.setTimer(() => {
      this.#queue.shift();
      const heardMs = current.queuedMs;
      if (heardMs > 0)
        this.emit({ type: 'playout.done', atMs: this.#at(), utterance: current.number, heardMs });
      this.#play();
    }, leftMs);
  }

  playedSamples(utterance: number): number | null {
    const playing = this.#queue.find(({ number }) => number === utterance);
    if (playing === undefined || playing.startMs === null) return null;
    return Math.min(playing.queuedMs, this.#at() - playing.startMs) * 8;
  }

  pause(): void {
    this.log.push('media.pause');
  }

  resume(): void {
    this.log.push('media.resume');
  }

  flush(): void {
    this.log.push('media.flush');
    for (const giveUp of this.#waiting.splice(0)) giveUp();
    this.#clock.clearTimer(this.#timer);
    for (const { number, queuedMs, startMs } of this.#queue.splice(0)) {
      const heardMs = startMs === null ? 0 : Math.min(queuedMs, this.#at() - startMs);
      this.emit({ type: 'playout.flushed', atMs: this.#at(), utterance: number, heardMs });
    }
  }

  record(): void {
    this.log.push('record');
  }

  takesEvents = true;

  mute({ side, on }: { readonly side: 'caller' | 'agent'; readonly on: boolean }): void {
    this.log.push(`media.${on ? 'mute' : 'unmute'} ${side}`);
  }

  sendDtmf(digits: string, { mode, toneMs, gapMs }: DtmfTones): Promise<void> {
    if (mode === 'rfc4733' && !this.takesEvents) {
      return Promise.reject(new AppError('E_DTMF', 'no events'));
    }
    this.log.push(`media.dtmf ${digits} ${mode} ${toneMs}/${gapMs}`);
    return Promise.resolve();
  }

  playLoop(pcm: Int16Array | null): void {
    this.log.push(pcm === null ? 'media.loop off' : 'media.loop on');
  }

  setVoiceGain(gainDb: number): void {
    this.log.push(`media.gain ${gainDb}`);
  }

  setBackground(sound: BackgroundSound | null): void {
    const what = sound === null ? 'off' : `${sound.pcm.length} ${sound.gainDb} -${sound.duckDb}`;
    this.log.push(`media.background ${what}`);
  }

  playEffect(pcm: Int16Array): void {
    this.log.push(`media.effect ${pcm.length}`);
  }

  join(): MediaParty {
    throw new AppError('E_QUEUE_FULL', 'nobody joins here');
  }

  readAside(): number {
    return 0;
  }

  startRecording(path: string): void {
    this.log.push(`media.record ${path}`);
  }

  pauseRecording(): void {
    this.log.push('media.record pause');
  }

  resumeRecording(): void {
    this.log.push('media.record resume');
  }

  stopRecording(): Promise<RecordingResult | null> {
    this.log.push('media.record stop');
    return Promise.resolve(RECORDING);
  }

  /** Gives nothing: what a listener hears is the media plane's matter. */
  tap(): MediaTap {
    this.log.push('media.tap');
    return { read: () => 0, close: () => this.log.push('media.untap') };
  }

  armBargeIn(on: boolean): void {
    this.log.push(on ? 'media.arm' : 'media.disarm');
  }

  /** The engine gives a session anew. */
  open(): this {
    this.#isClosed = false;
    this.log.push('media.open');
    return this;
  }

  close(): Promise<MediaClosed> {
    this.#isClosed = true;
    this.#clock.clearTimer(this.#timer);
    this.log.push('media.close');
    const stats = {
      packetsReceived: 100,
      packetsSent: 100,
      lost: 0,
      late: 0,
      duplicated: 0,
      concealedMs: 0,
      foreignDropped: 0,
      malformedDropped: 0,
      jitterMs: 1,
      codec: 'PCMA' as const,
    };
    return Promise.resolve({
      stats,
      recording: RECORDING,
    });
  }
}

export class FakeDialog implements SipDialog {
  readonly sipCallId = 'abc@192.0.2.9';
  readonly log: string[];
  #onEnd: (end: SipEnd) => void = () => undefined;

  constructor(log: string[]) {
    this.log = log;
  }

  end(by: SipEnd['by']): void {
    this.#onEnd({ by, status: null, reason: null, q850: 16 });
  }

  onEnd(listener: (end: SipEnd) => void): void {
    this.#onEnd = listener;
  }

  onOffer(): void {}
  onAnswer(): void {}

  onDtmf(listener: (digit: string, durationMs: number) => void): void {
    this.press = listener;
  }

  /** The far end sends a key by INFO. */
  press: (digit: string, durationMs: number) => void = () => undefined;

  bye(): Promise<void> {
    this.log.push('bye');
    return Promise.resolve();
  }

  /** What the far end answers to an offer of ours. */
  answerTo: (sdp: string) => Promise<string> = () =>
    Promise.reject(new Error('not part of these tests'));

  reinvite(sdp: string | (() => string)): Promise<string> {
    this.log.push('reinvite');
    return this.answerTo(typeof sdp === 'string' ? sdp : sdp());
  }

  sendDtmf(digit: string, durationMs: number): Promise<void> {
    this.log.push(`info ${digit} ${durationMs}`);
    return Promise.resolve();
  }
}

/** Answers whatever is asked, with nothing. */
export const NO_TOOLS: ToolBox = {
  offered: async (agent) => agent.functions,
  manner: () => ({ say: null, isQuiet: false }),
  ask: async () => ({ content: '{}', effect: null }),
};

/** 200 ms of audio per word, with exact marks. */
export const fakeTts: TtsProvider = {
  vendor: 'fake',
  async *speak({ text }) {
    await Promise.resolve();
    let chars = 0;
    for (const word of text.split(' ')) {
      chars += word.length + (chars === 0 ? 0 : 1);
      yield {
        pcm: new Int16Array(1600),
        marks: [{ chars, ms: text.slice(0, chars).split(' ').length * 200 }],
      };
    }
  },
};

export function fakeLlm(answer: (text: string) => readonly ReplyPart[]): LlmProvider {
  return {
    vendor: 'fake',
    async *reply({ input }) {
      await Promise.resolve();
      for (const part of answer(input.kind === 'dtmf' ? `#${input.digits}` : input.text))
        yield part;
      return { inputTokens: 3, outputTokens: 4 };
    },
  };
}

export type Rig = ReturnType<typeof createRig>;

/** Everything one call needs; `connect` decides how the leg answers. */
export function createRig(
  options: {
    agent?: Partial<AgentConfig>;
    llm?: LlmProvider;
    tts?: TtsProvider;
    connect?: (
      events: LegEvents,
      signal: AbortSignal,
      dialog: FakeDialog,
    ) => Promise<Answered | Refusal>;
    check?: Leg['check'];
    advance?: Leg['advance'];
    localAddress?: Leg['localAddress'];
  } = {},
) {
  const clock = new SimulatedClock();
  const log: string[] = [];
  const entries: JournalEntry[] = [];
  const media = new FakeMedia(clock, log);
  const dialog = new FakeDialog(log);
  let sttEvent: (event: SttEvent) => void = () => undefined;
  const agent: AgentConfig = { ...AGENT, ...options.agent };
  const story = new CallStory({
    journal: { append: (entry) => entries.push(entry) },
    clock,
    node: 'n1',
    callId: '00000000-0000-4000-8000-000000000003',
    accountId: agent.accountId,
    agentId: agent.id,
    agentName: agent.name,
    direction: 'inbound',
    channel: 'phone',
    from: '+15550100',
    to: '8001',
    remoteNumber: '+15550100',
    remoteName: null,
    trunkId: null,
    sipCallId: 'abc@192.0.2.9',
    variables: {},
    ...{ requestId: null, metadata: {}, maskAtRest: agent.maskAtRest },
    ...{ trunkTransport: null, customerId: null, squadId: null, ruleId: null, callerApp: null },
    campaignId: null,
  });
  const providers: ProviderSet = {
    stt: {
      vendor: 'fake',
      reads: true,
      open: (session) => {
        sttEvent = (event) => session.onEvent(event);
        return {
          push: () => undefined,
          speechStarted: () => undefined,
          speechStopped: () => undefined,
          close: () => log.push('stt.close'),
        };
      },
    },
    llm: options.llm ?? fakeLlm((text) => [{ type: 'text', text: `You said ${text}.` }]),
    tts: options.tts ?? fakeTts,
  };
  const leg: Leg = {
    sipCallId: 'abc@192.0.2.9',
    localAddress: options.localAddress ?? (() => Promise.resolve('192.0.2.1')),
    check: (events, signal) =>
      options.check?.(events, signal) ?? Promise.resolve({ ok: true as const }),
    advance: () => options.advance?.() ?? Promise.resolve(false),
    connect: (_local, events, signal) =>
      options.connect?.(events, signal, dialog) ??
      Promise.resolve({ ok: true, dialog, audio: AUDIO }),
    renegotiate: () => ({ status: 488 }),
    acceptLate: () => null,
    holdOffer: (on) => (on ? 'hold' : 'unhold'),
    acceptAnswer: (sdp) => ({ ...AUDIO, receive: sdp !== 'hold' }),
    refuse: (cause) => log.push(`refuse ${cause.type}`),
  };
  const deps: CallDeps = {
    media: {
      open: () => Promise.resolve(media.open()),
      census: () => Promise.resolve({ sessions: 0, sockets: 0, timers: 0 }),
      close: () => Promise.resolve(),
    },
    pump: new AudioPump(clock, (error) => log.push(`pump ${String(error)}`)),
    clock,
    log: silentLog,
    newRecording: () => ({
      ...{ path: '/data/recordings/r.cyr', uri: 'recordings/r.cyr', keyEnc: 'cy1.sealed' },
      seal: { recordingId: newId(), key: new Uint8Array(32) },
    }),
  };
  return {
    clock,
    log,
    entries,
    media,
    dialog,
    deps,
    setup: { leg, story, agent, providers: () => providers, records: () => Promise.resolve(true) },
    hear: (event: SttEvent) => sttEvent(event),
    types: () => entries.map((entry) => entry.event.type),
  };
}
