/** Who acts on an account: every change a repository makes on behalf of a request says by whom. */
import type { Id } from './ids.ts';

export type Role = 'owner' | 'admin' | 'developer' | 'supervisor' | 'viewer';

/** The person or key behind a request, and where it came from. */
export type Actor = {
  /** The account acted on. */
  readonly accountId: Id;
  /** `user:<id>`, `key:<id>` or `system`: goes into the transaction's claims and the audit log. */
  readonly name: string;
  readonly role: Role | 'system';
  /** Null: all agents; a list: these alone (a key with `agent_ids`). */
  readonly agentIds: readonly Id[] | null;
  readonly requestId: string | null;
  /** Source address without a port; null when nobody is connected. */
  readonly ip: string | null;
};
