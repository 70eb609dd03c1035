/** The SIP side of the engine without its control port: what an application in the same process could use directly. */
import type { AppClient } from './control-types.ts';
import type { Core } from './core.ts';
import { DialogSender } from './dialog-sender.ts';
import { Dialogs } from './dialogs.ts';
import { TransactionLayer } from './transaction-layer.ts';
import { Uac } from './uac.ts';
import { Uas } from './uas.ts';

export type SipCore = {
  readonly core: Core;
  readonly uas: Uas;
  readonly uac: Uac;
  /** An application disconnected: refuses, cancels and in the end hangs up what was its own. */
  clientGone(client: AppClient): void;
};

export type SipCoreOptions = Omit<Core, 'layer' | 'dialogs' | 'sender'> & {
  readonly maxTransactions: number;
};

export function createCore(options: SipCoreOptions): SipCore {
  const { transport, clock, timers, log, maxTransactions } = options;
  const uas = new Uas(() => core);
  const uac = new Uac(() => core);
  const layer = new TransactionLayer({
    transport,
    clock,
    timers,
    log,
    maxTransactions,
    user: {
      onRequest: (transaction) => uas.onRequest(transaction),
      onCancel: (cancel, invite) => uas.onCancel(cancel, invite),
      onAck: (ack, flow) => uas.onAck(ack, flow),
      onStrayResponse: (response) => uac.onStrayResponse(response),
    },
  });
  const core: Core = {
    ...options,
    layer,
    dialogs: new Dialogs(),
    sender: new DialogSender(() => core),
  };
  const clientGone = (client: AppClient): void => {
    uas.clientGone(client);
    uac.clientGone(client);
    reapOrphans(core, client);
  };
  return { core, uas, uac, clientGone };
}

/** Dialogs of an application that is gone are hung up, unless another one spoke for them in the meantime. */
function reapOrphans(core: Core, client: AppClient): void {
  const orphans = [...core.dialogs.all].filter(({ owner }) => owner === client);
  if (orphans.length === 0) return;
  core.log.warn('dialogs.orphaned', { count: orphans.length });
  core.clock.setTimer(() => {
    for (const dialog of orphans) {
      if (dialog.owner === client && dialog.state === 'confirmed') {
        core.sender.hangUp(dialog, { cause: 500, text: 'application is gone' });
      }
    }
  }, core.timers.orphanMs);
}
