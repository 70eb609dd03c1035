/** Table of dialogs: by their three SIP identifiers for the network, by one name for the application. */
import type { AppClient } from './control-types.ts';
import type { Dialog } from './dialog.ts';
import type { SipMessage } from './message.ts';

export class Dialogs {
  readonly #byTags = new Map<string, Dialog>();
  readonly #byControlId = new Map<string, Set<Dialog>>();

  get size(): number {
    return this.#byTags.size;
  }

  get all(): Iterable<Dialog> {
    return this.#byTags.values();
  }

  add(dialog: Dialog): void {
    this.#byTags.set(tagKey(dialog.callId, dialog.localTag, dialog.remoteTag), dialog);
    const forks = this.#byControlId.get(dialog.controlId);
    if (forks === undefined) this.#byControlId.set(dialog.controlId, new Set([dialog]));
    else forks.add(dialog);
  }

  /** Takes the dialog out and stops what it still does. Idempotent. */
  remove(dialog: Dialog): void {
    dialog.end();
    const key = tagKey(dialog.callId, dialog.localTag, dialog.remoteTag);
    if (this.#byTags.get(key) === dialog) this.#byTags.delete(key);
    const forks = this.#byControlId.get(dialog.controlId);
    if (forks === undefined) return;
    forks.delete(dialog);
    if (forks.size === 0) this.#byControlId.delete(dialog.controlId);
  }

  /** The dialog a request of the peer belongs to: its To tag is ours. */
  ofRequest(request: SipMessage): Dialog | undefined {
    return this.#byTags.get(tagKey(request.callId, request.to.tag ?? '', request.from.tag ?? ''));
  }

  /** The dialog a response to a request of ours belongs to: its From tag is ours. */
  ofResponse(response: SipMessage): Dialog | undefined {
    return this.#byTags.get(
      tagKey(response.callId, response.from.tag ?? '', response.to.tag ?? ''),
    );
  }

  /**
   * The dialog the application means: the confirmed one of a forked call, else the youngest of its own. A call of this
   * server to itself has two of one name; an ACK belongs to the one that waits for it.
   */
  ofApplication(controlId: string, client: AppClient, isAck = false): Dialog | undefined {
    let best: Dialog | undefined;
    for (const dialog of this.#byControlId.get(controlId) ?? []) {
      if (isAck && dialog.unsentAck !== null) return dialog;
      if (best === undefined || rank(dialog, client) >= rank(best, client)) best = dialog;
    }
    return best;
  }

  /** Early dialogs with the same name, all but one: what a final response leaves behind. */
  earlySiblings(controlId: string, except: Dialog | undefined): Dialog[] {
    const siblings = this.#byControlId.get(controlId) ?? [];
    return [...siblings].filter((dialog) => dialog !== except && dialog.state === 'early');
  }
}

function rank(dialog: Dialog, client: AppClient): number {
  return (dialog.owner === client ? 2 : 0) + (dialog.state === 'confirmed' ? 1 : 0);
}

function tagKey(callId: string, localTag: string, remoteTag: string): string {
  return `${callId}\n${localTag}\n${remoteTag}`;
}
