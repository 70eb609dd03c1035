/**
 * `runCall`: one call from first to last. It owns every resource of the call (media session, dialog, conversation),
 * provides the machine's actors, and gives everything back in the reverse order whatever happens.
 */
import { createActor, fromPromise, type ActorRefFrom } from 'xstate';
import type { TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { messageOf, toAppError } from '#lib/errors.ts';
import type { Log, LogEvent } from '#lib/log.ts';
import type { MediaClosed, MediaEvent, MediaSession, NegotiatedAudio } from '#media/types.ts';
import type { ProviderSet } from '#providers/contract.ts';
import { WEB_AUDIO } from '#media/web/web-transport.ts';
import type { SipEnd } from '#sip/types.ts';
import { AnswerWatch } from './answer-watch.ts';
import { CallDigits } from './call-digits.ts';
import { CallHold } from './call-hold.ts';
import { CallKeys } from './call-keys.ts';
import { CallRecordings } from './call-recordings.ts';
import { callMachine, type CallEvent, type Connected } from './call.machine.ts';
import { talkIn, type ConversationOptions } from './conversation-parts.ts';
import { CallClients } from './call-attach.ts';
import { CallSounds } from './call-sounds.ts';
import type { CallDeps, CallSetup, LiveCall } from './call-types.ts';
import type { Answered, LegDialog, LegEvents, Refusal } from './leg.ts';
import { LiveControl } from './live-control.ts';
import { endingOf, type EndCause, type Ending } from './outcome.ts';
import { finalFactsOf } from './final-facts.ts';
import { WebLeg } from './web-leg.ts';
import { newTalk } from './realtime-talk.ts';
import type { Talk } from './talk.ts';

/** RTP silence that means the media is lost (contract 2.0; lessons.md 1). */
const FIRST_RTP_TIMEOUT_MS = 30_000;
const RTP_TIMEOUT_MS = 15_000;
/** The caller of `connect` gives up first; this bounds what is left after that. */
const LATE_ANSWER_MS = 3000;
/** Longer than the media engine itself waits for the disk, whose word then decides about the recording. */
const MEDIA_CLOSE_MS = 15_000;

export type { CallDeps, CallSetup, EndedCall, LiveCall } from './call-types.ts';

/** The call ended while this was under way: the machine has its cause already and does not look at this one. */
const GONE = { ok: false, cause: { type: 'node.stop' } } as const;

export function runCall(deps: CallDeps, setup: CallSetup): LiveCall {
  const call = new RunningCall(deps, setup);
  return {
    story: setup.story,
    control: () => call.control,
    clients: call.clients,
    hangup: (by, reason) => call.send({ type: 'hangup', by, reason }),
    stop: () => call.send({ type: 'node.stop' }),
    done: call.run(),
  };
}

class RunningCall {
  readonly #deps: CallDeps;
  readonly #setup: CallSetup;
  readonly #log: Log;
  readonly #actor: ActorRefFrom<typeof callMachine>;
  #media: MediaSession | null = null;
  #mediaClosed: MediaClosed | null = null;
  #dialog: LegDialog | null = null;
  /** The other side is gone and may come back. */
  #isAway = false;
  #conversation: Talk | null = null;
  #connecting: Promise<Answered | Refusal> | null = null;
  #control: LiveControl | null = null;
  #digits: CallDigits | null = null;
  readonly #keys: CallKeys;
  #watch: AnswerWatch | null = null;
  readonly #recordings: CallRecordings;
  readonly #sounds: CallSounds;
  #boundTo = '';
  #codec: string | null = null;
  #providers: ProviderSet | null = null;
  #timer: TimerHandle | undefined;

  constructor(deps: CallDeps, setup: CallSetup) {
    this.#deps = deps;
    this.#setup = setup;
    const { story } = setup;
    this.#log = deps.log.child({ callId: story.callId });
    this.#keys = new CallKeys(deps.clock);
    this.#recordings = new CallRecordings({
      ...{ story, log: this.#log },
      newRecording: () => deps.newRecording(story),
      isoNow: () => new Date(deps.clock.wallMs()).toISOString(),
      media: () => this.#media,
      giveNotice: (text, onOver) => this.#giveNotice(text, onOver),
    });
    const { agent, tools } = setup;
    this.#sounds = new CallSounds({
      ...{ agent, library: deps.sounds ?? null, clock: deps.clock, log: this.#log },
      media: () => this.#media,
    });
    if (tools !== undefined) tools.onBusy = (on) => this.#sounds.toolsWork(on);
    const machine = callMachine.provide({
      actors: {
        prepare: fromPromise<Connected>(({ signal }) => this.#prepare(signal)),
        connect: fromPromise<Connected>(({ signal }) => this.#connect(signal)),
        release: fromPromise<void>(() => this.#release()),
      },
    });
    const input = { maxDurationMs: setup.agent.maxDurationS * 1000 };
    this.#actor = createActor(machine, { input });
  }

  send(event: CallEvent): void {
    if (this.#actor.getSnapshot().status === 'active') this.#actor.send(event);
  }

  run(): Promise<Ending> {
    const { promise, resolve } = Promise.withResolvers<Ending>();
    this.#setup.story.initiated();
    this.#actor.subscribe({
      next: (snapshot) => this.#arm(snapshot.context.deadlineAt),
      complete: () => resolve(this.#ending()),
      error: (error) => {
        // A programmer's error in machine or shell ends this call, not the node.
        this.#log.error('call.crashed', { error: toAppError(error) });
        void this.#release().finally(() => resolve(this.#ending()));
      },
    });
    this.#actor.on('limit.warning', () => this.#conversation?.warnOfEnd());
    this.#actor.on('limit.goodbye', () =>
      this.#conversation?.sayEnd(() => this.send({ type: 'limit.said' })),
    );
    this.#actor.start();
    return promise;
  }

  // ---- The machine's actors ----

  async #prepare(signal: AbortSignal): Promise<Connected> {
    const { leg } = this.#setup;
    const checked = await leg.check(this.#legEvents, signal);
    if (!checked.ok) return checked;
    if (signal.aborted) return GONE;
    this.#sounds.load();
    this.#providers = await this.#setup.providers();
    if (await this.#setup.records()) this.#recordings.choose(this.#setup.notice ?? null);
    await this.#openMedia();
    if (this.#isEnding()) await this.#closeMedia(); // hung up while the port was being leased
    return { ok: true };
  }

  async #openMedia(): Promise<void> {
    const { leg, story } = this.#setup;
    this.#boundTo = await leg.localAddress();
    this.#media = await this.#deps.media.open({
      callId: story.callId,
      localAddress: this.#boundTo,
      ...this.#recordings.mediaOptions,
      firstRtpTimeoutMs: FIRST_RTP_TIMEOUT_MS,
      rtpTimeoutMs: RTP_TIMEOUT_MS,
      web: leg.isWeb === true,
    });
  }

  readonly #legEvents: LegEvents = {
    onTrying: () => this.#setup.story.trying(),
    onRinging: (status, early) => this.#setup.story.ringing(status, early),
    onCancel: () => this.send({ type: 'remote.cancel' }),
    onAway: () => this.#standStill(true),
    onBack: () => this.#standStill(false),
    onLost: () => this.send({ type: 'media.lost' }),
  };

  async #connect(signal: AbortSignal): Promise<Connected> {
    this.#connecting = this.#attempt(signal);
    const result = await this.#connecting;
    if (!result.ok) return result;
    if (this.#isEnding()) {
      // `release` waits only so long for a late answer; this one comes later still. `bye` is idempotent.
      void result.dialog.bye({ q850: 16, text: 'Normal call clearing' });
      return GONE;
    }
    this.#goLive(result);
    return { ok: true };
  }

  /** One way to the other side after the other, until one is answered or none is left. */
  async #attempt(signal: AbortSignal): Promise<Answered | Refusal> {
    const { leg } = this.#setup;
    for (;;) {
      const media = this.#media as MediaSession;
      media.onEvent(this.#keys.media((event) => this.#onMedia(event)));
      const local = { address: media.localAddress, port: media.localPort };
      const result = await leg.connect(local, this.#legEvents, signal);
      if (result.ok || signal.aborted || !(await leg.advance()) || this.#isEnding()) return result;
      if ((await leg.localAddress()) === this.#boundTo) continue;
      // The next trunk is reached through another of our addresses: media follow the signalling.
      await this.#closeMedia();
      await this.#openMedia();
      if (!this.#isEnding()) continue;
      await this.#closeMedia(); // hung up meanwhile
      return result;
    }
  }

  /** Between ACK and the first greeting packet: every line here is on the caller's clock. */
  #goLive({ dialog, audio }: Answered): void {
    const { story, agent, leg } = this.#setup;
    const providers = this.#providers as ProviderSet;
    const media = this.#media as MediaSession;
    const { pump, clock } = this.#deps;
    this.#dialog = dialog;
    this.#codec = audio.codec;
    media.start(audio);
    story.answered(audio.codec, dialog.sipCallId, this.#recordings.answered());
    const options: ConversationOptions = {
      agent,
      announceOnly: this.#setup.announceOnly ?? false,
      notice: this.#recordings.notice,
      ...{ providers, media, story, pump, clock, log: this.#log },
      floor: this.#setup.floor ?? null,
      endOfTurn: this.#deps.endOfTurn ?? null,
      phrases: this.#deps.phrases ?? null,
      ...talkIn(this.#setup),
      onEnd: (cause) => this.send({ type: 'turn.ended', cause }),
      onAgent: (next, inMs) => this.#sounds.become(next, inMs),
      onNoticeOver: (isWhole) => {
        if (!this.#isEnding()) this.#recordings.firstNoticeOver(isWhole);
      },
    };
    const conversation = newTalk(options, audio.codec);
    this.#conversation = conversation;
    this.#sounds.begin(this.#recordings.notice !== null);
    conversation.start();
    if (this.#setup.amd === true) this.#watchAnswer(conversation, media, providers);
    this.#takeCommands(conversation, dialog);
    if (this.#isAway) this.#standStill(true);
    dialog.onOffer((offer) => this.#onOffer(offer));
    dialog.onAnswer((sdp) => this.#restart(leg.acceptLate(sdp)));
    dialog.onDtmf(this.#keys.info((digit, ms) => this.#conversation?.onDtmf(digit, ms, 'info')));
    dialog.onEnd((end) => this.#onDialogEnd(end));
  }

  #watchAnswer(talk: Talk, media: MediaSession, { stt }: ProviderSet): void {
    const { story, agent } = this.#setup;
    const { pump } = this.#deps;
    this.#watch = new AnswerWatch({
      ...{ story, agent, media, pump, talk, reads: stt.reads, log: this.#log },
      hasNotice: this.#recordings.notice !== null,
      onOver: () => this.send({ type: 'turn.ended', cause: 'agent.done' }),
    });
  }

  /** Nothing is said to nobody, and no silence is counted. */
  #standStill(isAway: boolean): void {
    this.#isAway = isAway;
    if (this.#isEnding() || this.#conversation === null) return;
    this.#media?.start({ ...WEB_AUDIO, send: !isAway });
    this.#conversation.hold(isAway, 'away');
  }

  get clients(): CallClients {
    const { story, leg } = this.#setup;
    return new CallClients({
      ...{ story, leg: leg instanceof WebLeg ? leg : null },
      media: () => this.#media,
      conversation: () => this.#conversation,
    });
  }

  #takeCommands(conversation: Talk, dialog: LegDialog): void {
    const { story, leg } = this.#setup;
    const { clock } = this.#deps;
    const media = (): MediaSession | null => this.#media;
    const digits = new CallDigits({ dialog, story, clock, log: this.#log, media });
    const restart = (audio: NegotiatedAudio): void => this.#restart(audio);
    const holding = new CallHold({
      ...{ leg, dialog, conversation, media, restart },
      music: () => this.#sounds.holdMusic,
    });
    this.#digits = digits;
    const recordings = this.#recordings;
    this.#control = new LiveControl({ story, conversation, recordings, digits, holding, media });
  }

  get control(): LiveControl | null {
    return this.#isEnding() ? null : this.#control;
  }

  #giveNotice(text: string, onOver: (isWhole: boolean) => void): boolean {
    const how = { urgent: false, interruptible: false, isExact: true };
    const asking = this.#conversation?.asking;
    return asking !== undefined && asking.say(text, how, onOver) !== null;
  }

  /** Gives everything back. Each step is guarded: one that fails is logged, and the others are still taken. */
  async #release(): Promise<void> {
    const { leg, story } = this.#setup;
    this.#deps.clock.clearTimer(this.#timer);
    this.#digits?.close();
    this.#sounds.close();
    this.#watch?.close();
    story.markEnd();
    const { cause, answered } = this.#verdict();
    const goodbye = this.#guard('call.byeFailed', async () => {
      leg.refuse(cause);
      await this.#sayBye(cause);
    });
    const said = await this.#guard('conversation.closeFailed', () => this.#conversation?.close());
    await this.#guard('media.closeFailed', () => this.#closeMedia());
    await this.#guard('recording.failed', () => this.#recordings.settled);
    const ending = endingOf(cause, answered, this.#watch?.isMachine);
    const { recordings, status } = this.#recordings.end(this.#mediaClosed);
    story.final(
      finalFactsOf({
        ...{ cause, ending },
        stats: this.#mediaClosed?.stats ?? null,
        codec: this.#codec,
        latency: said?.latency ?? null,
        tokens: said?.tokens ?? 0,
        confidence: said?.confidence ?? null,
        recordingStatus: status,
        amd: this.#watch?.facts ?? null,
      }),
    );
    for (const recording of recordings) story.recordingEnded(recording);
    this.#deps.onEnded?.({ story, agent: this.#setup.agent });
    const quality = this.#mediaClosed?.stats.quality ?? null;
    this.#log.info('call.ended', { outcome: ending.outcome, endedBy: ending.endedBy, quality });
    await goodbye; // last: a peer that answers no BYE must not hold the record up
  }

  async #guard<T>(event: LogEvent, step: () => Promise<T> | undefined): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      this.#log.error(event, { error: toAppError(error) });
      return undefined;
    }
  }

  // ---- Signalling and media ----

  #onMedia(event: MediaEvent): void {
    try {
      this.#watch?.onMedia(event);
      this.#conversation?.onMedia(event);
    } catch (error) {
      // A fault in one conversation ends that call and no other.
      this.#log.error('conversation.crashed', { error: toAppError(error) });
      this.send({ type: 'media.failed', message: messageOf(error) });
    }
    if (event.type === 'media.lost') this.send({ type: 'media.lost' });
    else if (event.type === 'media.failed')
      this.send({ type: 'media.failed', message: event.message });
    else if (event.type === 'recording.failed')
      this.#log.error('recording.failed', { reason: event.message });
  }

  #onDialogEnd(end: SipEnd): void {
    if (end.by === 'remote') this.send({ type: 'remote.bye', q850: end.q850 });
    else this.send({ type: 'signalling.lost' }); // ignored while ending: then it is our own BYE
  }

  #onOffer(offer: string | null): Promise<{ sdp: string } | { status: number }> {
    const answer = this.#setup.leg.renegotiate(offer);
    if ('sdp' in answer) this.#restart(answer.audio);
    return Promise.resolve(answer);
  }

  #restart(audio: NegotiatedAudio | null): void {
    if (audio === null || this.#isEnding()) return;
    this.#codec = audio.codec;
    this.#media?.start(audio);
  }

  /** BYE when a dialog exists; a dialog that comes into being only now (answer against cancel) gets its BYE too. */
  async #sayBye(cause: EndCause): Promise<void> {
    if (this.#dialog === null && this.#connecting !== null) {
      try {
        const late = await withDeadline(
          this.#connecting,
          LATE_ANSWER_MS,
          'the end of the INVITE',
          this.#deps.clock,
        );
        if (late.ok) this.#dialog = late.dialog;
      } catch (error) {
        this.#log.debug('call.unconnected', { error: toAppError(error) });
      }
    }
    if (this.#dialog === null || cause.type === 'remote.bye' || cause.type === 'signalling.lost')
      return;
    const said = cause.type === 'api.hangup' ? (cause.reason ?? null) : null;
    await this.#dialog.bye({ q850: 16, text: said ?? 'Normal call clearing' });
  }

  async #closeMedia(): Promise<void> {
    const media = this.#media;
    this.#media = null;
    if (media === null) return;
    try {
      this.#mediaClosed = await withDeadline(
        media.close(),
        MEDIA_CLOSE_MS,
        'closing the media',
        this.#deps.clock,
      );
    } catch (error) {
      this.#log.error('media.stuck', { error: toAppError(error) });
    }
  }

  // ---- The end ----

  #isEnding(): boolean {
    const snapshot = this.#actor.getSnapshot();
    return snapshot.status !== 'active' || snapshot.matches('ending') || snapshot.matches('ended');
  }

  #verdict(): { cause: EndCause; answered: boolean } {
    const { cause } = this.#actor.getSnapshot().context;
    // The story knows first: a BYE may come between the answer and the machine's hearing of it.
    const answered = this.#setup.story.isAnswered;
    return {
      cause: cause ?? {
        type: 'fault',
        code: 'E_INTERNAL',
        message: 'no cause of the end is known',
      },
      answered,
    };
  }

  #ending(): Ending {
    const { cause, answered } = this.#verdict();
    return endingOf(cause, answered, this.#watch?.isMachine);
  }

  /** The machine's absolute deadline as one timer. */
  #arm(deadlineAt: number | null): void {
    const { clock } = this.#deps;
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
    if (deadlineAt === null || this.#isEnding()) return;
    const { story } = this.#setup;
    this.#timer = clock.setTimer(
      () => this.send({ type: 'deadline.reached', at: story.callTimeMs() }),
      Math.max(0, Math.ceil(deadlineAt - story.callTimeMs())),
    );
  }
}
