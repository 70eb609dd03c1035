/** Keeps every trunk row that wants it registered: follows the rows, survives engine and database, tells what changes. */
import type { AccountEvent } from '#lib/call-events.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { FoundLine, RegistrationState, TrunkLine, TrunkTest } from '#lib/trunk.ts';
import type { CallJournal } from '#sessions/ports.ts';
import { Registration, type RegistrationPorts } from '#sip/registration.ts';
import { probeTrunk } from '#sip/trunk-probe.ts';
import { userOf, type TalkPorts } from '#sip/trunk-talk.ts';

export type RegistrationsOptions = {
  readonly talk: TalkPorts;
  /** Every active row of every account that wants to be registered. Errors: E_DATABASE*. */
  readonly lines: () => Promise<readonly FoundLine[]>;
  /** Called whenever the engine's control connection is there again. */
  readonly onEngineUp: (listener: () => void) => void;
  readonly journal: CallJournal;
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
};

/** Rows that another node changed are seen this soon. */
const REFRESH_MS = 10_000;
/** REGISTERs under way at once. */
const MAX_IN_FLIGHT = 32;
const PROBE_TIMEOUT_MS = 5_000;

const IDLE: RegistrationState = { registered: false, expiresAtMs: null, error: null };

type Slot = {
  readonly accountId: Id;
  wanted: FoundLine | null;
  /** What runs; null between two of them, and for a row that cannot be used. */
  current: { readonly line: TrunkLine; readonly registration: Registration } | null;
  state: RegistrationState;
  /** What the last event said. */
  told: { readonly registered: boolean; readonly error: string | null };
  work: Promise<void>;
};

export class Registrations {
  readonly #options: RegistrationsOptions;
  readonly #ports: RegistrationPorts;
  readonly #slots = new Map<Id, Slot>();
  /** Takings-back of bindings that nothing waits for. */
  readonly #leaving = new Set<Promise<void>>();
  readonly #turns = new Turns(MAX_IN_FLIGHT);
  #timer: TimerHandle | undefined;
  #reads = 0;
  #applied = 0;
  #isStarted = false;
  #closing: Promise<void> | null = null;

  constructor(options: RegistrationsOptions) {
    this.#options = options;
    const { talk, clock, log, random } = options;
    this.#ports = {
      ...talk,
      ...{ clock, log },
      ...(random === undefined ? {} : { random }),
      inTurn: (work) => this.#turns.run(work),
    };
    options.onEngineUp(() => {
      for (const { current } of this.#slots.values()) current?.registration.registerNow();
    });
  }

  /** Once calls are taken. */
  start(): void {
    this.#isStarted = true;
    void this.refresh();
  }

  /** Reads the rows now, and from then on every 10 s. With the database away what is known goes on. Never rejects. */
  async refresh(): Promise<void> {
    if (!this.#isStarted || this.#closing !== null) return;
    const { clock, log } = this.#options;
    clock.clearTimer(this.#timer);
    this.#timer = clock.setTimer(() => void this.refresh(), REFRESH_MS);
    const read = ++this.#reads;
    try {
      const lines = await this.#options.lines();
      // An older read that comes back later knows less.
      if (read < this.#applied || this.#closing !== null) return;
      this.#applied = read;
      this.#follow(lines);
    } catch (error) {
      log.warn('trunk.rowsUnread', { error: toAppError(error) });
    }
  }

  /** Null for a trunk that this node does not register. */
  stateOf(trunkId: Id): RegistrationState | null {
    return this.#slots.get(trunkId)?.state ?? null;
  }

  /** Within 5 s, whatever the far end does. */
  test(found: FoundLine): Promise<TrunkTest> {
    if (!found.ok) {
      const none = { sipStatus: null, roundTripMs: null };
      return Promise.resolve({ ok: false, ...none, error: found.flaw });
    }
    const { talk: ports, clock } = this.#options;
    return probeTrunk(found.line, {
      ...{ ports, clock },
      timeoutMs: PROBE_TIMEOUT_MS,
      keepsBinding: () => this.#slots.has(found.line.trunkId),
    });
  }

  /** Takes every binding back, within 2 s. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#options.clock.clearTimer(this.#timer);
    const slots = [...this.#slots];
    await Promise.all(
      slots.map(async ([trunkId, slot]) => {
        await slot.current?.registration.stop();
        slot.state = IDLE;
        this.#tell(trunkId, slot);
      }),
    );
    await Promise.all([...this.#leaving, ...slots.map(([, { work }]) => work)]);
    this.#slots.clear();
  }

  #follow(lines: readonly FoundLine[]): void {
    const wanted = new Map(lines.map((found) => [idOf(found), found]));
    for (const [trunkId, found] of wanted) this.#want(trunkId, this.#slotOf(found), found);
    for (const [trunkId, slot] of this.#slots) {
      if (!wanted.has(trunkId)) this.#want(trunkId, slot, null);
    }
  }

  #slotOf(found: FoundLine): Slot {
    const trunkId = idOf(found);
    const known = this.#slots.get(trunkId);
    if (known !== undefined) return known;
    const accountId = found.ok ? found.line.accountId : found.accountId;
    const slot: Slot = {
      ...{ accountId, wanted: null, current: null },
      ...{ state: IDLE, told: IDLE, work: Promise.resolve() },
    };
    this.#slots.set(trunkId, slot);
    return slot;
  }

  /** One change after the other: the new binding must not be taken back by the old one's end. */
  #want(trunkId: Id, slot: Slot, wanted: FoundLine | null): void {
    slot.wanted = wanted;
    const isSame =
      wanted?.ok === true && slot.current !== null && isSameLine(slot.current.line, wanted.line);
    if (!isSame) slot.work = slot.work.then(() => this.#move(trunkId, slot));
  }

  async #move(trunkId: Id, slot: Slot): Promise<void> {
    const { wanted, current: before } = slot;
    const next = wanted?.ok === true ? wanted.line : null;
    if (next !== null && before !== null && isSameLine(before.line, next)) return;
    slot.current = null;
    if (before !== null) await this.#leave(before, next);
    if (this.#closing !== null || slot.wanted !== wanted) return;
    if (next === null) {
      const error = wanted?.ok === false ? wanted.flaw : null;
      slot.state = { ...IDLE, error };
      if (wanted === null) this.#slots.delete(trunkId);
      return this.#tell(trunkId, slot);
    }
    if (before === null || bindingOf(before.line) !== bindingOf(next)) slot.state = IDLE;
    const registration = new Registration(next, this.#ports, (state) => {
      if (slot.current?.registration !== registration) return;
      slot.state = state;
      this.#tell(trunkId, slot);
    });
    slot.current = { line: next, registration };
    registration.registerNow();
  }

  /** A binding that goes on under other terms is left in place; one elsewhere is taken back meanwhile. */
  async #leave(before: NonNullable<Slot['current']>, next: TrunkLine | null): Promise<void> {
    const keepsBinding = next !== null && bindingOf(before.line) === bindingOf(next);
    const leaving = before.registration.stop({ keepsBinding });
    this.#leaving.add(leaving);
    void leaving.finally(() => this.#leaving.delete(leaving));
    if (next === null || registrarOf(before.line) === registrarOf(next)) await leaving;
  }

  #tell(trunkId: Id, slot: Slot): void {
    const { registered, error } = slot.state;
    if (slot.told.registered === registered && slot.told.error === error) return;
    slot.told = { registered, error };
    const { clock, log, journal, node } = this.#options;
    log[registered && error === null ? 'info' : 'warn']('trunk.changed', {
      ...{ trunkId, registered, error },
    });
    const event: AccountEvent<'trunk.changed'> = {
      id: newId(),
      type: 'trunk.changed',
      time: new Date(clock.wallMs()).toISOString(),
      account_id: slot.accountId,
      ...{ call_id: null, seq: null, node, request_id: null },
      data: { trunk_id: trunkId, registered, error },
    };
    journal.append({ event, record: null, recording: null });
  }
}

/** So many at once; the others wait in the order they came. Their number is that of the rows. */
class Turns {
  readonly #most: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(most: number) {
    this.#most = most;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#most) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}

function idOf(found: FoundLine): Id {
  return found.ok ? found.line.trunkId : found.trunkId;
}

/** Everything that REGISTER depends on; a new name or limit leaves the registration alone. */
function isSameLine(one: TrunkLine, other: TrunkLine): boolean {
  return termsOf(one) === termsOf(other);
}

function termsOf(line: TrunkLine): string {
  const { username, password, realm } = line.trunk;
  return JSON.stringify([bindingOf(line), username, password, realm, line.intervalS]);
}

/** Name and Contact at one registrar. */
function bindingOf(line: TrunkLine): string {
  const { trunk, localPort } = line;
  return JSON.stringify([registrarOf(line), userOf(trunk), localPort, trunk.localHost]);
}

function registrarOf({ trunk }: TrunkLine): string {
  const { host, port, transport, domain, outboundProxy } = trunk;
  return JSON.stringify([host, port, transport, domain, outboundProxy]);
}
