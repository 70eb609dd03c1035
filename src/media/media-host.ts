/** All calls of one media worker: turns commands into calls on their chains, and keeps one call's failure to itself. */
import type { Clock } from '#lib/clock.ts';
import { messageOf, systemCodeOf } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';
import { SampleRing } from '#lib/sample-ring.ts';
import { buildChain, type MediaChain } from './media-chain.ts';
import { obey, type CommandContext } from './media-commands.ts';
import { addDrops, type MediaDrops } from './media-drops.ts';
import type { MediaCommand, MediaReply, OpenRequest, WorkerCensus } from './media-protocol.ts';
import { Pacer, type PacerOptions } from './pacer.ts';
import type { OpenSidesEncoder } from './recording/opus-sides.ts';
import { RecordingFile, type OpenRecording } from './recording/recording-file.ts';
import { RecordingRoom } from './recording/recording-room.ts';
import type { RtpTransport } from './rtp/rtp-socket.ts';
import type { SileroCensus } from './speech/silero-census.ts';
import type { MediaClosed } from './types.ts';
import type { SpeechClassifier } from './speech/vad.ts';
import { UtteranceMarks } from './playout/utterance-marks.ts';
import { WebTransport } from './web/web-transport.ts';

export type MediaHostOptions = {
  readonly clock: Clock;
  readonly wireOriginMs: number;
  readonly fine?: PacerOptions['fine'];
  readonly openSocket: (address: string, port: number) => Promise<RtpTransport>;
  readonly openSocketCount: () => number;
  readonly newClassifier: () => SpeechClassifier;
  /** Whose counters the census has. */
  readonly silero?: { readonly census: SileroCensus } | null;
  readonly openRecording?: OpenRecording;
  /** Of recordings in Ogg/Opus; default: encodes on this thread. */
  readonly openEncoder?: OpenSidesEncoder;
  readonly reply: (reply: MediaReply) => void;
};

export class MediaHost {
  /** What the recordings of these calls may keep in memory while disks are slow. */
  readonly recordingRoom = new RecordingRoom();
  readonly #options: MediaHostOptions;
  readonly #pacer: Pacer;
  readonly #context: CommandContext;
  /** Null while the call is still opening. */
  readonly #sessions = new Map<number, MediaChain | null>();
  #droppedBefore: MediaDrops = {};
  /** Calls that are to be closed as soon as they are open. */
  readonly #closeEarly = new Set<number>();

  constructor(options: MediaHostOptions) {
    this.#options = options;
    const { clock, openRecording, openEncoder, reply } = options;
    const given = {
      ...{ clock, room: this.recordingRoom },
      ...(openRecording === undefined ? {} : { open: openRecording }),
      ...(openEncoder === undefined ? {} : { openEncoder }),
    };
    this.#context = {
      reply,
      openFile: (path, seal, onFailed) => new RecordingFile({ path, seal, onFailed, ...given }),
    };
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
    else if (command.type === 'start') void this.#start(chain, command);
    else obey(chain, command, this.#context);
  }

  /** Only what needs preparing (Opus) is awaited, and that takes no longer than to the next message. */
  async #start(
    chain: MediaChain,
    command: Extract<MediaCommand, { type: 'start' }>,
  ): Promise<void> {
    try {
      const preparing = chain.prepare(command.audio);
      if (preparing !== null) await preparing;
    } catch (error) {
      chain.fail(error);
      return;
    }
    obey(chain, command, this.#context);
  }

  /** Calls, those being opened and closed included. */
  get size(): number {
    return this.#sessions.size;
  }

  census(): WorkerCensus {
    return {
      sessions: this.#sessions.size,
      sockets: this.#options.openSocketCount(),
      timers: this.#pacer.timers,
      dropped: this.#dropped(),
      pacing: this.#pacer.stats(),
      silero: this.#options.silero?.census ?? null,
    };
  }

  #dropped(): MediaDrops {
    let sum = this.#droppedBefore;
    for (const chain of this.#sessions.values()) sum = addDrops(sum, chain?.stats.dropped ?? {});
    return sum;
  }

  async #open(session: number, request: OpenRequest): Promise<void> {
    this.#sessions.set(session, null);
    let transport: RtpTransport | undefined;
    try {
      transport = await this.#transport(request);
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

  #transport({ localAddress, port, web }: OpenRequest): RtpTransport | Promise<RtpTransport> {
    if (web) return new WebTransport({ buffers: web, pacer: this.#pacer });
    return this.#options.openSocket(localAddress, port);
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
        recordingPath === null
          ? null
          : (tell) => this.#context.openFile(recordingPath, recordingSeal, tell),
      recordsOnCommand: request.recordsOnCommand === true,
      firstRtpTimeoutMs: request.firstRtpTimeoutMs,
      rtpTimeoutMs: request.rtpTimeoutMs,
      cname: randomToken(12),
      emit: (event) => reply({ type: 'event', session, event }),
      tellDigits: (request) => reply({ type: 'dtmf.sent', session, request }),
      tellRoom: () => reply({ type: 'room', session }),
    });
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
    this.#droppedBefore = addDrops(this.#droppedBefore, closed.stats.dropped ?? {});
    const silero = this.#options.silero?.census;
    const told = silero === undefined ? {} : { silero };
    this.#options.reply({ type: 'closed', session, closed, ...told });
  }
}
