/** What dialling campaigns needs from the outside, plugged in by campaigns.ts. */
import type {
  CampaignEvent,
  CampaignLead,
  ClaimDecision,
  ClaimFacts,
  ClaimResult,
  OpenClaim,
  TargetClaim,
} from '#lib/campaign.ts';
import type { Id } from '#lib/ids.ts';

export type ClaimPlace = { readonly at: string; readonly targetId: Id };

/** See store/campaign-dialling.ts. Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type CampaignStore = {
  startDue(nowMs: number): Promise<readonly CampaignEvent[]>;
  lead(driver: string, limit: number, nowMs: number): Promise<readonly CampaignLead[]>;
  release(driver: string): Promise<void>;
  claim(wish: {
    readonly campaignId: Id;
    readonly driver: string;
    readonly callId: Id;
    readonly nowMs: number;
  }): Promise<ClaimResult>;
  settle(
    claim: TargetClaim,
    decide: (facts: ClaimFacts) => ClaimDecision,
  ): Promise<readonly CampaignEvent[]>;
  openClaims(after: ClaimPlace | null, limit: number): Promise<readonly (OpenClaim & ClaimPlace)[]>;
  complete(campaignId: Id, reason: string | null): Promise<readonly CampaignEvent[]>;
  pause(campaignId: Id, reason: string): Promise<readonly CampaignEvent[]>;
  untold(nowMs: number, olderThanMs: number): Promise<readonly CampaignEvent[]>;
  told(events: readonly CampaignEvent[]): Promise<void>;
};
