/** The SIP core between a fake network and a fake application, on simulated time. */
import assert from 'node:assert/strict';
import type { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import type { Log } from '#lib/log.ts';
import { parseDraft } from '#sip/server/control-message.ts';
import type {
  AppClient,
  AppEvent,
  AppRegistry,
  SendResult,
  Sent,
} from '#sip/server/control-types.ts';
import { createCore } from '#sip/server/engine-core.ts';
import { LocalNames } from '#sip/server/local-names.ts';
import type { SipMessage } from '#sip/server/message.ts';
import { CountingClock, DEFAULT_TIMERS } from '#sip/server/timers.ts';
import { FakeTransport, nameOf, settled } from './_sip-fakes.ts';

/** An application that notes what it hears. */
export class FakeApp implements AppClient {
  tags: readonly string[] = [];
  isOpen = true;
  readonly heard: AppEvent[] = [];

  deliver(event: AppEvent): void {
    this.heard.push(event);
  }

  /** `INVITE`, `200 INVITE`, `BYE*` (an unsolicited one) since the last call. */
  take(): string[] {
    return this.heard
      .splice(0)
      .map(({ message, source }) => nameOf(message) + (source === 'application' ? '*' : ''));
  }

  last(name: string): AppEvent {
    const event = this.heard.at(-1);
    assert.ok(event !== undefined, `nothing was heard, ${name} was expected`);
    assert.equal(nameOf(event.message), name);
    return event;
  }
}

export class FakeRegistry implements AppRegistry {
  readonly apps: FakeApp[] = [];
  methods: readonly string[] = ['INVITE'];

  pick(method: string): AppClient | undefined {
    return this.methods.includes(method) ? this.apps.find(({ isOpen }) => isOpen) : undefined;
  }

  heir(): AppClient | undefined {
    return this.apps.find(({ isOpen }) => isOpen);
  }
}

export const SDP = 'v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n';

export function createKit(log: Log = silentLog) {
  const transport = new FakeTransport();
  const clock = new CountingClock(transport.clock);
  const registry = new FakeRegistry();
  const app = new FakeApp();
  registry.apps.push(app);
  const parts = createCore({
    transport,
    registry,
    names: new LocalNames({ publicAddress: null, localNets: [], ownAddresses: [] }),
    nameService: { addresses: () => Promise.resolve([]), services: () => Promise.resolve([]) },
    clock,
    timers: DEFAULT_TIMERS,
    log,
    maxTransactions: 1000,
  });
  const { core, uas, uac } = parts;
  const kit = {
    ...parts,
    transport,
    /** Also moves the queues that wait for promises. */
    async advance(ms: number): Promise<void> {
      (transport.clock as SimulatedClock).advance(ms);
      await settled();
    },
    clock,
    registry,
    app,
    /** The application answers the last request it heard, or the one with this transaction. */
    respond(text: string, transactionId = app.heard.at(-1)?.transactionId ?? ''): SendResult {
      return uas.respond(transactionId, draft(`SIP/2.0 ${text}`));
    },
    /** A request out of any dialog; resolves with the engine's reply. */
    submit(text: string, routeUrl: string | null = null): Promise<SendResult> {
      return new Promise((resolve) => uac.submit(app, draft(text), routeUrl, resolve));
    },
    inDialog(dialogId: string, text: string, client: AppClient = app): Promise<SendResult> {
      return new Promise((resolve) => uac.submitInDialog(client, dialogId, draft(text), resolve));
    },
    cancel(transactionId: string, headers = ''): Promise<SendResult> {
      const text = `CANCEL sip:x@192.0.2.9 SIP/2.0${headers}`;
      return new Promise((resolve) => uac.cancel(transactionId, draft(text), resolve));
    },
    /** Everything that must be gone in the end. */
    leftovers() {
      return {
        ...core.layer.census(),
        dialogs: core.dialogs.size,
        waiting: uas.waiting,
        attempts: uac.attempts,
        timers: clock.pending,
      };
    },
  };
  return kit;
}

export type Kit = ReturnType<typeof createKit>;

export const NOTHING = {
  inviteClient: 0,
  client: 0,
  inviteServer: 0,
  server: 0,
  dialogs: 0,
  waiting: 0,
  attempts: 0,
  timers: 0,
};

/** A message as the application writes it. */
export function draft(text: string): SipMessage {
  const message = parseDraft(text.includes('\r\n\r\n') ? text : `${text}\r\n\r\n`);
  assert.ok(message !== undefined, text);
  return message;
}

export function sentOf(result: SendResult): Sent {
  assert.ok(result.ok, result.ok ? '' : result.reason);
  return result;
}
