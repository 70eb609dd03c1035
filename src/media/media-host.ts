/** All calls of one media worker: turns commands into calls on their chains, and keeps one call's failure to itself. */
import type { Clock } from '#lib/clock.ts';
import { messageOf, systemCodeOf } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';
import { SampleRing } from '#lib/sample-ring.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import { buildChain, type MediaChain } from './media-chain.ts';
import type { MediaCommand, MediaReply, OpenRequest, WorkerCensus } from './media-protocol.ts';
import { Pacer, type PacerOptions } from './pacer.ts';
import { RecordingFile, type OpenRecording } from './recording-file.ts';
import { Recorder } from './recorder.ts';
import type { RtpTransport } from './rtp-socket.ts';
import type { MediaClosed } from './types.ts';
import type { SpeechClassifier } from './vad.ts';
import { UtteranceMarks } from './utterance-marks.ts';

export type MediaHostOptions = {
  readonly clock: Clock;
  readonly wireOriginMs: number;
  readonly fine?: PacerOptions['fine'];
  readonly openSocket: (address: string, port: number) => Promise<RtpTransport>;
  readonly openSocketCount: () => number;
  readonly newClassifier: () => SpeechClassifier;
  readonly openRecording?: OpenRecording;
  readonly reply: (reply: MediaReply) => void;
};

export class MediaHost {
  readonly #options: MediaHostOptions;
  readonly #pacer: Pacer;
  /** Null while the call is still opening. */
  readonly #sessions = new Map<number, MediaChain | null>();
  /** Calls that are to be closed as soon as they are open. */
  readonly #closeEarly = new Set<number>();

  constructor(options: MediaHostOptions) {
    this.#options = options;
    this.#pacer = new Pacer({
      clock: options.clock,
      ...(options.fine === undefined ? {} : { fine: options.fine }),
    });
  }

  /** Carries out one command; never throws. Commands for calls that are gone do nothing. */
  handle(command: MediaCommand): void {
    if (command.type === 'open') {
      void this.#open(command.session, command.request);
      return;
    }
    if (command.type === 'census') {
      const census = this.census();
      if (command.resetPacing) this.#pacer.resetStats();
      this.#options.reply({ type: 'census', request: command.request, census });
      return;
    }
    const chain = this.#sessions.get(command.session);
    if (chain === undefined) return;
    if (chain === null) {
      if (command.type === 'close') this.#closeEarly.add(command.session);
      return;
    }
    if (command.type === 'close') void this.#close(command.session, chain);
    else obey(chain, command);
  }

  census(): WorkerCensus {
    return {
      sessions: this.#sessions.size,
      sockets: this.#options.openSocketCount(),
      timers: this.#pacer.timers,
      pacing: this.#pacer.stats(),
    };
  }

  async #open(session: number, request: OpenRequest): Promise<void> {
    this.#sessions.set(session, null);
    let transport: RtpTransport | undefined;
    try {
      transport = await this.#options.openSocket(request.localAddress, request.port);
      const chain = this.#host(session, request, transport);
      this.#sessions.set(session, chain);
      this.#options.reply({ type: 'opened', session });
      if (this.#closeEarly.delete(session)) await this.#close(session, chain);
    } catch (error) {
      transport?.close();
      this.#sessions.delete(session);
      this.#closeEarly.delete(session);
      const code = systemCodeOf(error) ?? null;
      this.#options.reply({ type: 'open.failed', session, code, message: messageOf(error) });
    }
  }

  #host(session: number, request: OpenRequest, transport: RtpTransport): MediaChain {
    const { clock, wireOriginMs, newClassifier, reply } = this.#options;
    const { recordingPath, recordingSeal = null } = request;
    return buildChain({
      clock,
      wireOriginMs,
      transport,
      pacer: this.#pacer,
      classifier: newClassifier(),
      callerRing: SampleRing.attach(request.callerRing),
      playoutRing: SampleRing.attach(request.playoutRing),
      marks: UtteranceMarks.attach(request.marks),
      record:
        recordingPath === null ? null : (tell) => this.#record(recordingPath, recordingSeal, tell),
      recordsOnCommand: request.recordsOnCommand === true,
      firstRtpTimeoutMs: request.firstRtpTimeoutMs,
      rtpTimeoutMs: request.rtpTimeoutMs,
      cname: randomToken(12),
      emit: (event) => reply({ type: 'event', session, event }),
      tellRoom: () => reply({ type: 'room', session }),
    });
  }

  #record(path: string, seal: RecordingSeal | null, onFailed: (message: string) => void): Recorder {
    const { clock, openRecording } = this.#options;
    return new Recorder(
      new RecordingFile({
        path,
        seal,
        clock,
        onFailed,
        ...(openRecording === undefined ? {} : { open: openRecording }),
      }),
    );
  }

  async #close(session: number, chain: MediaChain): Promise<void> {
    let closed: MediaClosed;
    try {
      closed = await chain.close();
    } catch (error) {
      chain.fail(error);
      closed = { stats: chain.stats, recording: null };
    }
    if (!this.#sessions.delete(session)) return;
    this.#options.reply({ type: 'closed', session, closed });
  }
}

function obey(
  chain: MediaChain,
  command: Exclude<MediaCommand, { type: 'open' | 'close' | 'census' }>,
): void {
  try {
    switch (command.type) {
      case 'start':
        return chain.start(command.audio);
      case 'pause':
        return chain.pause();
      case 'resume':
        return chain.resume();
      case 'flush':
        return chain.flush(command.count, command.position);
      case 'arm':
        return chain.armBargeIn(command.on);
      case 'record':
        return chain.record();
    }
  } catch (error) {
    chain.fail(error);
  }
}
