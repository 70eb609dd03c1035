/** The main thread's hold on one call's media: commands out, events in, audio through the shared rings. */
import { rm } from 'node:fs/promises';
import { messageOf } from '#lib/errors.ts';
import { SampleRing } from '#lib/sample-ring.ts';
import type { MediaCommand, MediaReply, OpenRequest } from './media-protocol.ts';
import { PlayoutWriter } from './playout-writer.ts';
import { repairSealed } from './sealed-repair.ts';
import type {
  MediaClosed,
  MediaEvent,
  MediaOptions,
  MediaSession,
  MediaStats,
  NegotiatedAudio,
  RecordingResult,
} from './types.ts';
import { SAMPLE_RATE_HZ } from './types.ts';
import { UtteranceMarks } from './utterance-marks.ts';
import { repairWav } from './wav.ts';

export type SessionParts = {
  readonly id: number;
  readonly options: MediaOptions;
  readonly localPort: number;
  readonly send: (command: MediaCommand) => void;
  /** Gives port and number back; called once. */
  readonly release: () => void;
  /** Gives up waiting for the worker's last word. */
  readonly closeDeadline: (closed: Promise<MediaClosed>) => Promise<MediaClosed>;
};

const CALLER_RING_S = 4;
const PLAYOUT_RING_S = 8;
/** Events kept until a listener is set; then the oldest go. */
const MAX_EARLY_EVENTS = 256;

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
  readonly #callerRing = SampleRing.create(CALLER_RING_S * SAMPLE_RATE_HZ);
  readonly #playoutRing = SampleRing.create(PLAYOUT_RING_S * SAMPLE_RATE_HZ);
  readonly #marks = UtteranceMarks.create();
  readonly #writer = new PlayoutWriter(this.#playoutRing, this.#marks);
  readonly #closed = Promise.withResolvers<MediaClosed>();
  #listener: ((event: MediaEvent) => void) | null = null;
  #early: MediaEvent[] = [];
  #isReleased = false;
  #closing: Promise<MediaClosed> | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.localAddress = parts.options.localAddress;
    this.localPort = parts.localPort;
  }

  /** What the worker is to open. */
  request(): OpenRequest {
    const { localAddress, recordingPath, recordingSeal, recordsOnCommand, ...timeouts } =
      this.#parts.options;
    const { firstRtpTimeoutMs, rtpTimeoutMs } = timeouts;
    return {
      localAddress,
      recordingPath,
      recordingSeal: recordingSeal ?? null,
      recordsOnCommand: recordsOnCommand ?? false,
      firstRtpTimeoutMs,
      rtpTimeoutMs,
      port: this.localPort,
      callerRing: this.#callerRing.buffer,
      playoutRing: this.#playoutRing.buffer,
      marks: this.#marks.buffer,
    };
  }

  start(audio: NegotiatedAudio): void {
    this.#command({ type: 'start', session: this.#parts.id, audio });
  }

  onEvent(listener: (event: MediaEvent) => void): void {
    this.#listener = listener;
    const early = this.#early;
    this.#early = [];
    for (const event of early) listener(event);
  }

  readCaller(into: Int16Array): number {
    return this.#callerRing.read(into);
  }

  beginUtterance(utterance: number): void {
    this.#writer.begin(utterance);
  }

  write(utterance: number, pcm: Int16Array): Promise<void> {
    return this.#writer.write(utterance, pcm);
  }

  endUtterance(utterance: number): void {
    this.#writer.end(utterance);
  }

  pause(): void {
    this.#command({ type: 'pause', session: this.#parts.id });
  }

  resume(): void {
    this.#command({ type: 'resume', session: this.#parts.id });
  }

  flush(): void {
    this.#command({ type: 'flush', session: this.#parts.id, ...this.#writer.flush() });
  }

  armBargeIn(on: boolean): void {
    this.#command({ type: 'arm', session: this.#parts.id, on });
  }

  record(): void {
    this.#command({ type: 'record', session: this.#parts.id });
  }

  close(): Promise<MediaClosed> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** A message of the worker about this call. */
  receive(reply: Extract<MediaReply, { type: 'event' | 'room' | 'closed' }>): void {
    if (reply.type === 'room') this.#writer.pump();
    else if (reply.type === 'closed') this.#closed.resolve(reply.closed);
    else this.#tell(reply.event);
  }

  /** The worker is gone: the call hears of it, and close() waits for nothing but what is left of the recording. */
  workerLost(message: string): void {
    this.#tell({ type: 'media.failed', atMs: 0, message });
    const left = this.#leftRecording();
    this.#closed.resolve(left.then((recording) => ({ stats: NOTHING, recording })));
  }

  /** What a dead worker had written, closed as after a crash; null when there is nothing in it. Never rejects. */
  async #leftRecording(): Promise<RecordingResult | null> {
    const { recordingPath: path, recordingSeal: seal = null } = this.#parts.options;
    if (path === null) return null;
    try {
      const mended = seal === null ? await repairWav(path) : await repairSealed(path, seal);
      if (mended.durationMs > 0) return { path, sha256: null, ...mended, truncated: true };
      await rm(path, { force: true });
    } catch (error) {
      this.#tell({ type: 'recording.failed', atMs: 0, message: messageOf(error) });
    }
    return null;
  }

  async #close(): Promise<MediaClosed> {
    this.#writer.close();
    this.#parts.send({ type: 'close', session: this.#parts.id });
    try {
      return await this.#parts.closeDeadline(this.#closed.promise);
    } finally {
      this.#release();
    }
  }

  #release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#listener = null;
    this.#parts.release();
  }

  #command(command: MediaCommand): void {
    if (this.#closing === undefined) this.#parts.send(command);
  }

  #tell(event: MediaEvent): void {
    if (this.#listener !== null) this.#listener(event);
    else if (this.#closing === undefined) {
      if (this.#early.length >= MAX_EARLY_EVENTS) this.#early.shift();
      this.#early.push(event);
    }
  }
}
