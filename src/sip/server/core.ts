/** What the server side, the client side and the dialogs of the engine have in common. */
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import type { AppRegistry } from './control-types.ts';
import type { DialogSender } from './dialog-sender.ts';
import type { Dialogs } from './dialogs.ts';
import type { LocalNames } from './local-names.ts';
import type { NameService } from './outbound-route.ts';
import type { SipTimers } from './timers.ts';
import type { TransactionLayer } from './transaction-layer.ts';
import type { TransportLayer } from './types.ts';

export type Core = {
  readonly transport: TransportLayer;
  readonly layer: TransactionLayer;
  readonly dialogs: Dialogs;
  readonly sender: DialogSender;
  readonly registry: AppRegistry;
  readonly names: LocalNames;
  readonly nameService: NameService;
  readonly clock: Clock;
  readonly timers: SipTimers;
  readonly log: Log;
};

/** Methods the engine lets through; anything else is 405 (RFC 3261 8.2.1). */
export const IN_DIALOG_METHODS: readonly string[] = [
  'INVITE',
  'BYE',
  'UPDATE',
  'INFO',
  'OPTIONS',
  'MESSAGE',
  'REFER',
  'NOTIFY',
  'SUBSCRIBE',
];

/** What a caller of ours may always send. */
export const BASE_METHODS: readonly string[] = [
  'INVITE',
  'ACK',
  'CANCEL',
  'BYE',
  'OPTIONS',
  'UPDATE',
  'INFO',
  'REFER',
  'NOTIFY',
  'MESSAGE',
];

/** Option tags of extensions that work (RFC 3261 20.32). None so far: 100rel and timer come later. */
export const SUPPORTED_OPTIONS: readonly string[] = [];

export function allowOf(registry: AppRegistry): string {
  return [...new Set([...BASE_METHODS, ...registry.methods])].join(', ');
}
