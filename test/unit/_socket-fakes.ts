/** A fake of the calls that sockets attach to: what a client does is written down, what it is told the test decides. */
import type { SocketPorts } from '#api/socket-attach.ts';
import type {
  AttachRefusal,
  AttachRole,
  Attachment,
  PlaceWebCall,
} from '#sessions/call-attach-types.ts';
import type { CallFrame, FrameListener } from '#sessions/call-frames.ts';
import type { LiveCallView, PlaceResult } from '#sessions/call-service-types.ts';

/** A client's end of a call. `done` has what it did, in order. */
export class FakeAttachment implements Attachment {
  readonly call: LiveCallView;
  readonly role: AttachRole;
  readonly done: unknown[][] = [];
  /** Samples that the call heard, and those that it has to say. */
  heard: number[] = [];
  due: number[] = [];
  /** Samples that the next `push` says it dropped. */
  drops = 0;
  /** Whether its client answers functions. */
  canAnswer: boolean | null = null;
  isDetached = false;
  /** Names of function calls that somebody waits for. */
  readonly asked = new Set<string>();
  /** Thrown by `text`, as a fault of ours. */
  fault: Error | null = null;
  /** Called once, when `read` finds nothing. */
  onDry: (() => void) | null = null;
  #listener: FrameListener | null = null;

  constructor(call: LiveCallView, role: AttachRole) {
    this.call = call;
    this.role = role;
  }

  tell(...frames: CallFrame[]): void {
    for (const frame of frames) this.#listener?.(frame);
  }

  push(pcm: Int16Array): number {
    this.heard.push(...pcm);
    return this.drops;
  }

  read(into: Int16Array): number {
    const part = this.due.splice(0, into.length);
    into.set(part);
    const { onDry } = this;
    if (part.length === 0 && onDry !== null) {
      this.onDry = null;
      onDry();
    }
    return part.length;
  }

  onFrame(listener: FrameListener, canAnswer = true): void {
    this.#listener = listener;
    this.canAnswer = canAnswer;
  }

  text(text: string): void {
    if (this.fault !== null) throw this.fault;
    this.done.push(['text', text]);
  }

  dtmf(digits: string): void {
    this.done.push(['dtmf', digits]);
  }

  interrupt(): void {
    this.done.push(['interrupt']);
  }

  hangup(reason: string | null): void {
    this.done.push(['hangup', reason]);
  }

  played(mark: string): void {
    this.done.push(['played', mark]);
  }

  functionResult(id: string, result: unknown): boolean {
    this.done.push(['result', id, result]);
    return this.asked.delete(id);
  }

  detach(): void {
    if (!this.isDetached) this.done.push(['detach']);
    this.isDetached = true;
    this.#listener = null;
  }
}

export type SocketFakes = {
  readonly ports: SocketPorts;
  readonly placed: PlaceWebCall[];
  placeResult: ((request: PlaceWebCall) => Promise<PlaceResult>) | null;
  /** Every one so far, also of callers that have gone. */
  readonly attachments: FakeAttachment[];
  /** Of calls that refuse whoever comes. */
  readonly refusals: Map<string, AttachRefusal>;
  /** Calls that somebody was noted as listening to. */
  readonly listened: string[];
};

/** `calls` is read at each question; a phone call takes listeners alone, a web call one caller at a time. */
export function makeSockets(
  calls: Map<string, LiveCallView>,
  blank: (changes: Partial<LiveCallView>) => LiveCallView,
  guard: () => void,
): SocketFakes {
  const attachments: FakeAttachment[] = [];
  const fakes: SocketFakes = {
    ports: {
      attaching: {
        placeWeb: async (request) => {
          fakes.placed.push(request);
          if (fakes.placeResult !== null) return fakes.placeResult(request);
          const id = crypto.randomUUID();
          const { accountId, direction, remoteNumber: callerPhone } = request;
          const channel = 'web' as const;
          const call = blank({ id, accountId, direction, callerPhone, channel, status: 'dialing' });
          calls.set(id, call);
          return { ok: true, call };
        },
        attach: (accountId, callId, { role, allowedAgentIds }) => {
          const call = calls.get(callId);
          const isTheirs = call?.accountId === accountId;
          if (!isTheirs || !(allowedAgentIds?.includes(call.agentId) ?? true)) {
            return { ok: false, refusal: 'NOT_FOUND' };
          }
          const refusal = fakes.refusals.get(callId) ?? refusalOf(call, role, attachments);
          if (refusal !== null) return { ok: false, refusal };
          const attachment = new FakeAttachment(call, role);
          attachments.push(attachment);
          return { ok: true, attachment };
        },
      },
      // Repeats or leaves out samples: the real one is a library's.
      resampling: {
        open: (fromHz, toHz) => ({
          convert: (pcm) =>
            Int16Array.from(
              { length: Math.round((pcm.length * toHz) / fromHz) },
              (_, at) => pcm[Math.floor((at * fromHz) / toHz)] ?? 0,
            ),
          close: () => undefined,
        }),
      },
      noteListening: async (_actor, callId) => {
        guard();
        fakes.listened.push(callId);
      },
    },
    placed: [],
    placeResult: null,
    attachments,
    refusals: new Map(),
    listened: [],
  };
  return fakes;
}

function refusalOf(
  call: LiveCallView,
  role: AttachRole,
  attachments: readonly FakeAttachment[],
): AttachRefusal | null {
  if (call.endTime !== null) return 'OVER';
  if (role === 'listen') return null;
  if (call.channel !== 'web') return 'WRONG_ROLE';
  const isTaken = attachments.some(
    (each) => each.call.id === call.id && each.role === 'caller' && !each.isDetached,
  );
  return isTaken ? 'TAKEN' : null;
}
