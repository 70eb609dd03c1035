/** Campaigns kept in memory, for tests of the facade. */
import type { CampaignPorts } from '#api/campaigns.ts';
import type { Actor } from '#lib/actor.ts';
import {
  isChangeable,
  statusAfter,
  type Campaign,
  type CampaignFields,
  type CampaignTarget,
} from '#lib/campaign.ts';
import { newId } from '#lib/ids.ts';
import type { Page } from '#lib/page.ts';

export type CampaignFakes = {
  readonly ports: CampaignPorts;
  readonly campaigns: Map<string, Campaign>;
  readonly targets: Map<string, CampaignTarget[]>;
};

const AT = '2026-01-01T00:00:00.000Z';

export function makeCampaigns(): CampaignFakes {
  const campaigns = new Map<string, Campaign>();
  const targets = new Map<string, CampaignTarget[]>();
  const pageOf = <T>(rows: T[]): Page<T> => ({
    ...{ rows, total: rows.length, totalExact: true, next: null },
  });
  const find = (actor: Actor, id: string): Campaign | null => {
    const known = campaigns.get(id);
    return known?.accountId === actor.accountId ? known : null;
  };
  const keep = (campaign: Campaign): Campaign => {
    campaigns.set(campaign.id, campaign);
    return campaign;
  };
  const ports: CampaignPorts = {
    campaigns: {
      list: async (actor) =>
        pageOf([...campaigns.values()].filter((each) => each.accountId === actor.accountId)),
      get: async (actor, id) => find(actor, id),
      create: async (actor, fields: CampaignFields) => {
        const counts = { pending: 0, dialing: 0, done: 0, failed: 0, skipped: 0, attempts: 0 };
        const campaign = keep({
          ...{ ...fields, id: newId(), accountId: actor.accountId, status: 'draft', counts },
          ...{ pauseReason: null, startedAt: null, finishedAt: null },
          ...{ createdAt: AT, updatedAt: AT },
        });
        targets.set(campaign.id, []);
        return { ok: true, campaign };
      },
      replace: async (actor, id, fields) => {
        const known = find(actor, id);
        if (known === null) return null;
        if (!isChangeable(known.status)) return { ok: false, fault: { kind: 'state' } };
        return { ok: true, campaign: keep({ ...known, ...fields }) };
      },
      remove: async (actor, id) => {
        const known = find(actor, id);
        if (known === null) return null;
        return isChangeable(known.status) && campaigns.delete(id);
      },
      command: async (actor, id, command) => {
        const known = find(actor, id);
        if (known === null) return null;
        const status = statusAfter(command, known.status, false);
        if (status === null) return { ok: false };
        return { ok: true, campaign: keep({ ...known, status }), news: [] };
      },
    },
    targets: {
      list: async (actor, id) => {
        return find(actor, id) === null ? null : pageOf(targets.get(id) ?? []);
      },
      add: async (actor, id, added) => {
        if (find(actor, id) === null) return null;
        const rows = added.map(({ phone, name, variables }) => ({
          ...{ id: newId(), phone, name, variables, status: 'pending' as const, attempts: 0 },
          ...{ nextAttemptAt: null, lastCallId: null, lastOutcome: null, createdAt: AT },
        }));
        targets.get(id)?.push(...rows);
        return { added: rows.length, duplicates: 0, rejected: [] };
      },
    },
  };
  return { ports, campaigns, targets };
}
