/** The main thread's hold on one call's media: commands out, events in, audio through the shared rings. */
import { AppError, messageOf } from '#lib/errors.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import { DigitQueue } from './dtmf/digit-queue.ts';
import { checkedBackground, checkedEffect } from './mix/mix-checks.ts';
import type { BackgroundSound, EffectOptions, MediaParty, PartyRole } from './mix/mix-types.ts';
import { addDrops } from './media-drops.ts';
import type { MediaCommand, MediaReply, OpenRequest } from './media-protocol.ts';
import { checkGain, Parties } from './mix/party.ts';
import { PlayoutWriter } from './playout/playout-writer.ts';
import { RecordingControl } from './recording/recording-control.ts';
import type { CallRings } from './ring-pool.ts';
import { TapReader } from './mix/tap-reader.ts';
import type {
  AudioSide,
  DtmfTones,
  MediaClosed,
  MediaEvent,
  MediaOptions,
  MediaSession,
  MediaStats,
  MediaTap,
  NegotiatedAudio,
  RecordingResult,
} from './types.ts';
import { FRAME_SAMPLES, MAX_TAPS, SAMPLE_RATE_HZ } from './types.ts';
import { WebRings } from './web/web-audio.ts';

/** What the worker says about one call. */
export type SessionReply = Extract<
  MediaReply,
  { type: 'event' | 'room' | 'dtmf.sent' | 'recording.stopped' | 'closed' }
>;

export type SessionParts = {
  readonly id: number;
  readonly options: MediaOptions;
  readonly localPort: number;
  readonly send: (command: MediaCommand) => void;
  readonly rings: CallRings;
  /** Gives port and number back, and the rings if the worker has let go of them; called once. */
  readonly release: (isLetGo: boolean) => void;
  /** Gives up waiting for the worker's last word about something: E_TIMEOUT. */
  readonly deadline: <T>(answer: Promise<T>, what: string) => Promise<T>;
};

/** Events kept until a listener is set; then the oldest go. */
const MAX_EARLY_EVENTS = 256;
/** Ten minutes. */
const MAX_LOOP = 600 * SAMPLE_RATE_HZ;

const NOTHING: MediaStats = {
  packetsReceived: 0,
  packetsSent: 0,
  lost: 0,
  late: 0,
  duplicated: 0,
  concealedMs: 0,
  foreignDropped: 0,
  malformedDropped: 0,
  jitterMs: 0,
  codec: null,
};

export class ClientSession implements MediaSession {
  readonly localAddress: string;
  readonly localPort: number;
  readonly #parts: SessionParts;
  readonly #writer: PlayoutWriter;
  readonly web: WebRings | null;
  readonly #digits: DigitQueue;
  readonly #recording: RecordingControl;
  readonly #parties: Parties;
  readonly #taps = new Map<number, TapReader>();
  #lastTap = 0;
  readonly #closed = Promise.withResolvers<MediaClosed>();
  #listener: ((event: MediaEvent) => void) | null = null;
  #early: MediaEvent[] = [];
  /** Frames that listeners did not fetch, of those that have left; events that came before anybody listened. */
  #tapDrops = 0;
  #eventDrops = 0;
  #isReleased = false;
  /** The worker has died. */
  #isLost = false;
  /** The worker has said its last word: it touches nothing of this call any more. */
  #isLetGo = false;
  #closing: Promise<MediaClosed> | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#writer = new PlayoutWriter(parts.rings.playout, parts.rings.marks);
    this.localAddress = parts.options.localAddress;
    this.localPort = parts.localPort;
    const { id: session, options, deadline } = parts;
    const send = (command: MediaCommand): void => this.#command(command);
    this.#digits = new DigitQueue((job) => send({ type: 'dtmf', session, ...job }));
    this.#recording = new RecordingControl({ id: session, options, send, deadline });
    this.#parties = new Parties((command) => send({ ...command, session }));
    this.web = parts.options.web === true ? new WebRings() : null;
  }

  get callId(): string {
    return this.#parts.options.callId;
  }

  /** What the worker is to open. */
  request(): OpenRequest {
    const { localAddress, recordingPath, recordingSeal, recordsOnCommand, ...timeouts } =
      this.#parts.options;
    const { rings } = this.#parts;
    const { firstRtpTimeoutMs, rtpTimeoutMs } = timeouts;
    return {
      localAddress,
      recordingPath,
      recordingSeal: recordingSeal ?? null,
      recordsOnCommand: recordsOnCommand ?? false,
      firstRtpTimeoutMs,
      rtpTimeoutMs,
      port: this.localPort,
      callerRing: rings.caller.buffer,
      playoutRing: rings.playout.buffer,
      marks: rings.marks.buffer,
      web: this.web?.buffers ?? null,
    };
  }

  start(audio: NegotiatedAudio): void {
    this.#command({ type: 'start', session: this.#parts.id, audio });
    this.#digits.negotiate(audio);
    this.#recording.started();
  }

  onEvent(listener: (event: MediaEvent) => void): void {
    this.#listener = listener;
    const early = this.#early;
    this.#early = [];
    for (const event of early) listener(event);
  }

  readCaller(into: Int16Array): number {
    return this.#isReleased ? 0 : this.#parts.rings.caller.read(into);
  }

  beginUtterance(utterance: number, gainDb = 0): void {
    checkGain(gainDb);
    this.#writer.begin(utterance, gainDb);
  }

  write(utterance: number, pcm: Int16Array): Promise<void> {
    return this.#writer.write(utterance, pcm);
  }

  endUtterance(utterance: number): void {
    this.#writer.end(utterance);
  }

  playedSamples(utterance: number): number | null {
    return this.#writer.played(utterance);
  }

  pause(): void {
    this.#command({ type: 'pause', session: this.#parts.id });
  }

  resume(): void {
    this.#command({ type: 'resume', session: this.#parts.id });
  }

  flush(): void {
    if (this.#isLost) return this.#flushLost();
    this.#command({ type: 'flush', session: this.#parts.id, ...this.#writer.flush() });
  }

  /** Nobody else can tell any more what was heard; as always, the answer comes after the call. */
  #flushLost(): void {
    const taken = this.#writer.taken();
    this.#writer.flush();
    queueMicrotask(() => {
      for (const { utterance, samples } of taken) {
        const heardMs = (samples * 1000) / SAMPLE_RATE_HZ;
        this.#tell({ type: 'playout.flushed', atMs: 0, utterance, heardMs });
      }
    });
  }

  armBargeIn(on: boolean, confirmMs?: number): void {
    const confirm = confirmMs === undefined ? {} : { confirmMs };
    this.#command({ type: 'arm', session: this.#parts.id, on, ...confirm });
  }

  mute({ side, on }: { readonly side: AudioSide; readonly on: boolean }): void {
    this.#command({ type: 'mute', session: this.#parts.id, side, on });
  }

  get takesEvents(): boolean {
    return this.#digits.takesEvents;
  }

  sendDtmf(digits: string, tones: DtmfTones): Promise<void> {
    return this.#digits.add(digits, tones);
  }

  playLoop(pcm: Int16Array | null): void {
    if (pcm !== null && (pcm.length < FRAME_SAMPLES || pcm.length > MAX_LOOP)) {
      throw new AppError('E_REQUEST', 'a loop lasts 20 ms to 10 min');
    }
    this.#command({ type: 'loop', session: this.#parts.id, pcm });
  }

  setVoiceGain(gainDb: number): void {
    checkGain(gainDb);
    this.#command({ type: 'voice', session: this.#parts.id, gainDb });
  }

  setBackground(wanted: BackgroundSound | null): void {
    const sound = wanted === null ? null : checkedBackground(wanted);
    this.#command({ type: 'background', session: this.#parts.id, sound });
  }

  playEffect(pcm: Int16Array, { gainDb = 0, alone = false }: EffectOptions = {}): void {
    checkGain(gainDb);
    const sound = checkedEffect(pcm);
    this.#command({ type: 'effect', session: this.#parts.id, pcm: sound, gainDb, alone });
  }

  join(options: { readonly role: PartyRole; readonly gainDb?: number }): MediaParty {
    if (this.#closing !== undefined)
      throw new AppError('E_ABORTED', 'the media of the call is closed');
    return this.#parties.join(options);
  }

  readAside(kind: 'whispered' | 'spoken', into: Int16Array): number {
    return this.#parties.read(kind, into);
  }

  record(): void {
    this.#recording.record();
  }

  startRecording(path: string, seal: RecordingSeal | null): void {
    this.#recording.start(path, seal);
  }

  pauseRecording(): void {
    this.#recording.pause(true);
  }

  resumeRecording(): void {
    this.#recording.pause(false);
  }

  stopRecording(): Promise<RecordingResult | null> {
    return this.#recording.stop();
  }

  tap(): MediaTap {
    if (this.#closing !== undefined)
      throw new AppError('E_ABORTED', 'the media of the call is closed');
    if (this.#taps.size >= MAX_TAPS) {
      throw new AppError('E_QUEUE_FULL', `a call has at most ${MAX_TAPS} listeners`);
    }
    const tap = ++this.#lastTap;
    const session = this.#parts.id;
    const reader = new TapReader(() => {
      this.#taps.delete(tap);
      this.#tapDrops += reader.dropped;
      this.#command({ type: 'untap', session, tap });
    });
    this.#taps.set(tap, reader);
    this.#command({ type: 'tap', session, tap, ...reader.buffers });
    return reader;
  }

  close(): Promise<MediaClosed> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** A message of the worker about this call. */
  receive(reply: SessionReply): void {
    switch (reply.type) {
      case 'event':
        return this.#tell(reply.event);
      case 'room':
        return this.#writer.pump();
      case 'dtmf.sent':
        return this.#digits.sent(reply.request);
      case 'recording.stopped':
        return this.#recording.stopped(reply);
      case 'closed':
        this.#isLetGo = true;
        return this.#closed.resolve(this.#withOwnDrops(reply.closed));
    }
  }

  /** What was dropped on this side of the rings is not known to the worker. */
  #withOwnDrops(closed: MediaClosed): MediaClosed {
    let tap = this.#tapDrops;
    for (const each of this.#taps.values()) tap += each.dropped;
    const dropped = addDrops(closed.stats.dropped ?? {}, { tap, event: this.#eventDrops });
    return { ...closed, stats: { ...closed.stats, dropped } };
  }

  /** The worker is gone: the call hears of it, and close() waits for nothing but what is left of the recording. */
  workerLost(message: string): void {
    this.#isLost = true;
    this.#tell({ type: 'media.failed', atMs: 0, message });
    this.#digits.close();
    const left = this.#leftRecording();
    this.#closed.resolve(left.then((recording) => ({ stats: NOTHING, recording })));
  }

  /** What a dead worker had written, closed as after a crash; null when there is nothing in it. Never rejects. */
  async #leftRecording(): Promise<RecordingResult | null> {
    try {
      return await this.#recording.left();
    } catch (error) {
      this.#tell({ type: 'recording.failed', atMs: 0, message: messageOf(error) });
      return null;
    }
  }

  async #close(): Promise<MediaClosed> {
    this.#writer.close();
    this.#digits.close();
    this.#parts.send({ type: 'close', session: this.#parts.id });
    try {
      return await this.#parts.deadline(this.#closed.promise, 'closing the media of a call');
    } finally {
      this.#release();
    }
  }

  #release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#listener = null;
    this.#recording.close();
    for (const tap of this.#taps.values()) tap.close();
    this.#parties.close();
    this.#parts.release(this.#isLetGo);
  }

  #command(command: MediaCommand): void {
    if (this.#closing === undefined) this.#parts.send(command);
  }

  #tell(event: MediaEvent): void {
    if (event.type === 'playout.done' || event.type === 'playout.flushed')
      this.#writer.forget(event.utterance);
    if (this.#listener !== null) this.#listener(event);
    else if (this.#closing === undefined) {
      if (this.#early.length >= MAX_EARLY_EVENTS) {
        this.#early.shift();
        this.#eventDrops++;
      }
      this.#early.push(event);
    }
  }
}
