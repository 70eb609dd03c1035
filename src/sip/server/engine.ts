/** The embedded SIP engine, put together: transport, transactions, dialogs, control port. */
import { systemClock } from '#lib/clock.ts';
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import { hostPort } from './addresses.ts';
import { ControlServer } from './control-server.ts';
import { createCore } from './engine-core.ts';
import type { SipCore } from './engine-core.ts';
import { LocalNames } from './local-names.ts';
import { systemNames } from './outbound-route.ts';
import type { NameService } from './outbound-route.ts';
import { CountingClock, DEFAULT_TIMERS, timeoutMsOf } from './timers.ts';
import type { SipTimers } from './timers.ts';
import type { TransactionCensus } from './transaction-layer.ts';
import { createTransport } from './transport.ts';
import type { TransportLayer } from './types.ts';

const MAX_TRANSACTIONS = 50_000;

export type EngineOptions = {
  /** Numeric addresses to listen on; `0.0.0.0` and `::` stand for all of the family. */
  readonly hosts: readonly string[];
  /** SIP port, UDP and TCP; 0 lets the kernel choose. */
  readonly port: number;
  /** Goes into Contact and Via for peers outside; null = the local address. */
  readonly publicAddress?: string | null;
  /** Networks that see the local address. */
  readonly localNets?: readonly string[];
  /** What an application must know to connect. */
  readonly secret: string;
  /** Port on 127.0.0.1; 0 lets the kernel choose. */
  readonly controlPort?: number;
  readonly clock?: Clock;
  readonly log: Log;
  readonly timers?: SipTimers;
  /** Tests bring their own. */
  readonly transport?: TransportLayer;
  readonly nameService?: NameService;
};

/** What is live; all of it is zero on an idle engine, for leak tests. */
export type EngineCensus = {
  readonly transactions: TransactionCensus;
  readonly dialogs: number;
  /** Requests that wait for the application. */
  readonly waiting: number;
  /** INVITEs of the application without a final response. */
  readonly attempts: number;
  readonly timers: number;
  /** Connected applications. */
  readonly clients: number;
};

export type Engine = {
  /** `udp/192.0.2.7:5060` of every socket. */
  readonly listening: readonly string[];
  readonly controlPort: number;
  census(): EngineCensus;
  /** 503 with this Retry-After to new calls and OPTIONS; null takes them again. */
  setOverload(retryAfterS: number | null): void;
  /** Refuses what is unanswered, hangs up what is left, closes every socket. Idempotent. */
  close(): Promise<void>;
};

/** Errors: E_PORT_IN_USE, E_CONFIG, E_SIP_ENGINE. After an error nothing is left open. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const clock = new CountingClock(options.clock ?? systemClock);
  const names = new LocalNames({
    publicAddress: options.publicAddress ?? null,
    localNets: options.localNets ?? [],
  });
  const transport = options.transport ?? (await createTransport({ ...options, clock }));
  try {
    const parts = assemble(options, clock, names, transport);
    const controlPort = await parts.control.listen();
    return engineOf(parts, controlPort);
  } catch (error) {
    await transport.close();
    clock.clearAll();
    throw error;
  }
}

type Parts = SipCore & { readonly clock: CountingClock; readonly control: ControlServer };

function assemble(
  options: EngineOptions,
  clock: CountingClock,
  names: LocalNames,
  transport: TransportLayer,
): Parts {
  const { log, timers = DEFAULT_TIMERS, nameService = systemNames } = options;
  const control = new ControlServer({
    port: options.controlPort ?? 0,
    secret: options.secret,
    hostPorts: () => listeningOf(transport).join(),
    handler: {
      respond: (transactionId, draft) => parts.uas.respond(transactionId, draft),
      submit: (client, draft, routeUrl, reply) => parts.uac.submit(client, draft, routeUrl, reply),
      submitInDialog: (client, id, draft, reply) =>
        parts.uac.submitInDialog(client, id, draft, reply),
      cancel: (transactionId, draft, reply) => parts.uac.cancel(transactionId, draft, reply),
    },
    clock,
    log,
    onClientGone: (client) => parts.clientGone(client),
  });
  const parts = createCore({
    transport,
    registry: control,
    names,
    nameService,
    clock,
    timers,
    log,
    maxTransactions: MAX_TRANSACTIONS,
  });
  return { ...parts, clock, control };
}

function listeningOf(transport: TransportLayer): string[] {
  return transport.listening.map(
    ({ protocol, address, port }) => `${protocol}/${hostPort(address, port)}`,
  );
}

function engineOf(parts: Parts, controlPort: number): Engine {
  const { core, clock, control, uas, uac } = parts;
  const { transport, layer, dialogs, sender, timers, log } = core;
  const listening = listeningOf(transport);
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    uas.setOverload(Math.ceil(timeoutMsOf(timers) / 1000));
    uas.refuseAll();
    for (const dialog of dialogs.all) {
      if (dialog.state === 'confirmed') sender.hangUp(dialog, { cause: 503, text: 'shutdown' });
    }
    // The BYEs above look up their way first; two turns of the loop let their datagrams out.
    await nextTurn();
    await nextTurn();
    await control.close();
    layer.close();
    await transport.close();
    clock.clearAll();
    log.debug('engine.closed');
  };
  return {
    listening,
    controlPort,
    census: () => ({
      transactions: layer.census(),
      dialogs: dialogs.size,
      waiting: uas.waiting,
      attempts: uac.attempts,
      timers: clock.pending,
      clients: control.clients,
    }),
    setOverload: (retryAfterS) => uas.setOverload(retryAfterS),
    close: () => (closing ??= close()),
  };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
