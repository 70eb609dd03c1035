/** `GET /v1/voice/ws`, also called `/v1/voice/stream` (contract 2.4): a conversation by `start`, or a call to join. */
import type { TimerHandle } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { AttachRole, Attachment } from '#sessions/call-attach-types.ts';
import { Type } from 'typebox';
import { present } from './place-call.ts';
import { Problem } from './problem.ts';
import type { ApiServer } from './routing.ts';
import { attach, noteListening, type Attached, type CallSocketsPart } from './socket-attach.ts';
import { CallSocket } from './socket-call.ts';
import { addSocketRoute, ticketField, type SocketRequest } from './socket-route.ts';
import type { SocketHandlers, SocketSession } from './socket-session.ts';
import { placeWebCall } from './web-call.ts';
import { readStart, VOICE_RATE_HZ, voiceSkin, type StartFrame } from './ws-voice-frames.ts';

const START_WITHIN_MS = 10_000;
const Query = Type.Object({ ...ticketField }, { additionalProperties: false });
const FIELDS = {
  ...{ agent: '/assistant_id', variables: '/variables' },
  ...{ to: '', from: '', squad: '', trunk: '', metadata: '' },
} as const;

export function addVoiceSockets(app: ApiServer, part: CallSocketsPart): void {
  for (const name of ['ws', 'stream'] as const) {
    addSocketRoute(app, {
      url: `/v1/voice/${name}`,
      capability: 'ops',
      role: 'caller',
      schema: {
        operationId: name === 'ws' ? 'talk' : 'talkByStream',
        tags: ['Phone calls'],
        summary: name === 'ws' ? 'Talk with an assistant, or join a call' : 'As `/v1/voice/ws`',
        description:
          'A WebSocket. The first frame is `start`, within 10 s; then binary frames are audio (s16le mono, at the rates of `ready`), text frames are JSON with `type`. Frames and close codes are in the WebSocket guide, docs/websocket.md.',
        querystring: Query,
      },
      open: (session, request) => {
        session.handle(new VoiceSocket(session, part, request));
      },
    });
  }
}

class VoiceSocket implements SocketHandlers {
  readonly #session: SocketSession;
  readonly #part: CallSocketsPart;
  readonly #request: SocketRequest<unknown, unknown>;
  /** Aborted when the client leaves: a call that is being placed for it is not wanted any more. */
  readonly #left = new AbortController();
  #timer: TimerHandle | undefined;
  #state: 'waiting' | 'starting' | CallSocket = 'waiting';

  constructor(
    session: SocketSession,
    part: CallSocketsPart,
    request: SocketRequest<unknown, unknown>,
  ) {
    this.#session = session;
    this.#part = part;
    this.#request = request;
    const late = (): void => session.close(1008, 'no start within 10 s');
    this.#timer = part.clock.setTimer(late, START_WITHIN_MS);
  }

  text(type: string, frame: object): boolean {
    if (this.#state instanceof CallSocket) return this.#whileTalking(this.#state, type, frame);
    if (type === 'start' && this.#state === 'waiting') this.#take(frame);
    else if (type === 'ping') this.#session.send({ type: 'pong' });
    else if (this.#state === 'waiting') this.#session.close(1008, 'start must come first');
    else if (type === 'stop') this.#session.close(1000, 'stopped');
    else this.#session.error('INVALID_STATE');
    return true;
  }

  binary(data: Buffer): void {
    if (this.#state instanceof CallSocket) this.#state.binary(data);
    // What is said before `ready` is heard by nobody, but only before `start` nobody has asked to be heard.
    else if (this.#state === 'waiting') this.#session.close(1003, 'audio before start');
  }

  closed(): void {
    this.#part.clock.clearTimer(this.#timer);
    this.#left.abort();
    if (this.#state instanceof CallSocket) this.#state.close();
  }

  #whileTalking(call: CallSocket, type: string, frame: object): boolean {
    if (type !== 'start') return call.text(type, frame);
    this.#session.error('INVALID_STATE');
    return true;
  }

  /** A `start` with a wrong field may be sent again. */
  #take(frame: object): void {
    let start: StartFrame;
    try {
      start = readStart(frame);
    } catch (error) {
      return this.#session.refuse(error);
    }
    this.#state = 'starting';
    this.#part.clock.clearTimer(this.#timer);
    this.#start(start).catch((error: unknown) => this.#session.fail(error));
  }

  async #start(start: StartFrame): Promise<void> {
    const { voice = {} } = start.config ?? {};
    if (start.sdp !== undefined) this.#session.error('WEBRTC_DISABLED');
    if (voice.encoding === 'opus') this.#session.error('UNSUPPORTED_MEDIA_TYPE', OPUS_TEXT);
    const attachment = await this.#join(start);
    if (attachment === null) return;
    const rateHz = voice.sample_rate ?? VOICE_RATE_HZ;
    const rates = { uplinkHz: rateHz, downlinkHz: rateHz };
    const session = this.#session;
    this.#state = CallSocket.begin({ ...this.#part, session, attachment, skin: voiceSkin, rates });
    // `ready` may already have found the socket closed.
    if (!session.isOpen) this.#state.close();
  }

  /** Null: there is nobody left to join for. */
  async #join(start: StartFrame): Promise<Attachment | null> {
    // A ticket for one call opens no other one.
    const { callId: ticketed } = this.#session.grant;
    const callId = start.call_id ?? ticketed;
    if (ticketed !== null && callId !== ticketed) throw new Problem('NOT_FOUND');
    if (callId !== null) return this.#taken(await this.#existing(callId));
    return this.#placed(start);
  }

  /** Web calls as their caller; any other call as a listener. */
  async #existing(callId: Id): Promise<Attached> {
    const as = (role: AttachRole): Attached =>
      attach(this.#part, this.#session.caller, callId, role);
    const asCaller = as('caller');
    if (asCaller.ok || asCaller.reason !== 'WRONG_ROLE') return asCaller;
    if (this.#session.grant.callId !== null) return asCaller;
    await noteListening(this.#part, this.#request, callId);
    return as('listen');
  }

  async #placed(start: StartFrame): Promise<Attachment | null> {
    const { caller, requestId } = this.#session;
    this.#part.spendCall(caller);
    const { assistant_id: agentId, variables, config } = start;
    const tag = config?.voice?.language;
    const language = tag === undefined ? undefined : tag.startsWith('zh') ? 'zh' : 'en';
    const wish = present({ agentId, variables, language } as const);
    const call = await placeWebCall(this.#part, wish, {
      ...{ caller, requestId, fields: FIELDS, takesUri: false, signal: this.#left.signal },
    });
    if (this.#session.isOpen) return this.#taken(as(this.#part, caller, call.id));
    await this.#part.calls.hangup(caller.accountId, call.id, { reason: null, by: 'api' });
    return null;
  }

  #taken(attached: Attached): Attachment | null {
    if (attached.ok && this.#session.isOpen) return attached.attachment;
    if (attached.ok) attached.attachment.detach();
    else this.#session.close(attached.code, attached.reason);
    return null;
  }
}

const OPUS_TEXT = 'Opus is not supported yet; audio is PCM, as `ready` says';

function as(part: CallSocketsPart, caller: SocketSession['caller'], callId: Id): Attached {
  return attach(part, caller, callId, 'caller');
}
