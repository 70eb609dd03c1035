/** What the parts of the embedded SIP engine hand to each other: messages, flows, timers. */
import type { SipMessage } from './message.ts';

export type Protocol = 'udp' | 'tcp';

/** Where a message came from and can be answered to. For TCP `connection` names the connection it arrived on. */
export type Flow = {
  readonly protocol: Protocol;
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly connection: number | null;
};

/** Where a request of ours is to go: a numeric address (names are resolved before). */
export type Target = {
  readonly protocol: Protocol;
  readonly address: string;
  readonly port: number;
};

/** Sockets and framing; knows nothing of transactions. */
export type TransportLayer = {
  /** `udp/192.0.2.7:5060` and so on, of every socket that listens. */
  readonly listening: readonly {
    readonly protocol: Protocol;
    readonly address: string;
    readonly port: number;
  }[];
  /** Complete, parsed messages. Malformed ones were answered (400) or dropped and counted below this level. */
  onMessage(listener: (message: SipMessage, flow: Flow) => void): void;
  /** A TCP connection went away; transactions on it fail with a transport error. */
  onClosed(listener: (connection: number) => void): void;
  /** The local listening address that packets to `target` leave from; goes into Via and Contact. */
  localFor(target: Target): Promise<{ readonly address: string; readonly port: number }>;
  /** Sends on the same socket or connection the flow names. Rejects with E_SIP_ENGINE when it is gone. */
  sendOn(flow: Flow, bytes: Buffer): Promise<void>;
  /** Sends to a target, opening or reusing a TCP connection (connect deadline 5 s). Resolves with the flow used. */
  sendTo(target: Target, bytes: Buffer): Promise<Flow>;
  close(): Promise<void>;
};
