/** Campaigns (contract 2.8): what is to be done, and the commands that begin, hold and end it. */
import type { Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import {
  DEFAULT_CAMPAIGN_SETTINGS,
  type Campaign,
  type CampaignCommand,
  type CampaignFields,
  type CampaignSettings,
} from '#lib/campaign.ts';
import { parseIsoTime } from '#lib/iso-time.ts';
import { normalizePhone } from '#lib/phone.ts';
import { isTimeZone } from '#lib/wall-time.ts';
import type { CampaignTargets } from '#store/campaign-targets.ts';
import type { Campaigns, CampaignWritten } from '#store/campaigns.ts';
import { Type } from 'typebox';
import {
  CampaignBody,
  CampaignSchema,
  CampaignsListQuery,
  CampaignsListSchema,
  type CampaignInput,
} from './campaign-schemas.ts';
import { addTargetRoutes } from './campaign-targets.ts';
import { pageOf, paginationOf } from './paging.ts';
import { present } from './place-call.ts';
import { invalid, Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { missingProblem } from './references.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok, ref } from './schemas.ts';

export type CampaignPorts = {
  readonly campaigns: Campaigns;
  readonly targets: CampaignTargets;
};
type CampaignsPart = CampaignPorts & { readonly clock: Clock };

const URL = '/api/v1/campaigns';
const TAGS = ['Campaigns'];

export function addCampaignRoutes(app: ApiServer, part: CampaignsPart): void {
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addReplace(app, part);
  addDelete(app, part);
  addTargetRoutes(app, part);
  addCommand(app, part, 'start', {
    summary: 'Start a campaign',
    description: 'A draft is running now, or scheduled when its `start_at` is still to come.',
  });
  addCommand(app, part, 'pause', {
    summary: 'Pause a campaign',
    description: 'Calls under way are let finish; nobody else is called until it is resumed.',
  });
  addCommand(app, part, 'resume', {
    summary: 'Resume a paused campaign',
    description: 'What made it pause by itself is forgotten.',
  });
  addCommand(app, part, 'cancel', {
    summary: 'End a campaign for good',
    description: 'Calls under way are let finish. Again: unchanged. Not once it is completed.',
  });
}

function addCreate(app: ApiServer, part: CampaignsPart): void {
  app.route({
    method: 'POST',
    url: URL,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: 'createCampaign',
      tags: TAGS,
      summary: 'Create a campaign',
      description: 'A draft: nobody is called before it is started.',
      body: CampaignBody,
      response: answers(201, ref(CampaignSchema), {
        description: 'The campaign',
        hasBody: true,
        problems: ['REFERENCE_NOT_FOUND', 'NUMBER_NOT_ALLOWED'],
      }),
    },
    handler: async (request, reply) => {
      const fields = fieldsOf(request.body);
      const made = await fromStore(part, part.campaigns.create(actorOf(request), fields));
      reply.code(201);
      return ok(campaignView(written(made, fields)));
    },
  });
}

function addList(app: ApiServer, part: CampaignsPart): void {
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listCampaigns',
      tags: TAGS,
      summary: 'List campaigns, newest first',
      querystring: CampaignsListQuery,
      response: answers(200, CampaignsListSchema, { description: 'One page', problems: [] }),
    },
    handler: async (request) => {
      const { status = null, ...paging } = request.query;
      const page = pageOf(paging);
      const work = part.campaigns.list(actorOf(request), { ...page, status });
      const found = await fromStore(part, work);
      return ok({
        campaigns: found.rows.map(campaignView),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addGet(app: ApiServer, part: CampaignsPart): void {
  app.route({
    method: 'GET',
    url: `${URL}/:id`,
    config: { capability: 'any' },
    schema: {
      operationId: 'getCampaign',
      tags: TAGS,
      summary: 'Read a campaign and how far it has come',
      description: '`counts` are exact at every moment.',
      params: IdParams,
      response: answers(200, ref(CampaignSchema), {
        description: 'The campaign',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const work = part.campaigns.get(actorOf(request), request.params.id);
      const campaign = await fromStore(part, work);
      if (campaign === null) throw new Problem('NOT_FOUND');
      return ok(campaignView(campaign));
    },
  });
}

function addReplace(app: ApiServer, part: CampaignsPart): void {
  app.route({
    method: 'PUT',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'replaceCampaign',
      tags: TAGS,
      summary: 'Replace a campaign as a whole',
      description:
        'What is left out gets its default; targets stay. Not while it is running or paused.',
      params: IdParams,
      body: CampaignBody,
      response: answers(200, ref(CampaignSchema), {
        description: 'As it is now',
        hasBody: true,
        problems: ['NOT_FOUND', 'INVALID_STATE', 'REFERENCE_NOT_FOUND', 'NUMBER_NOT_ALLOWED'],
      }),
    },
    handler: async (request) => {
      const fields = fieldsOf(request.body);
      const work = part.campaigns.replace(actorOf(request), request.params.id, fields);
      const done = await fromStore(part, work);
      if (done === null) throw new Problem('NOT_FOUND');
      return ok(campaignView(written(done, fields)));
    },
  });
}

function addDelete(app: ApiServer, part: CampaignsPart): void {
  app.route({
    method: 'DELETE',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'deleteCampaign',
      tags: TAGS,
      summary: 'Delete a campaign with its targets',
      description: 'Records of its calls stay. Not while it is running or paused.',
      params: IdParams,
      response: answers(200, Type.Null(), {
        description: 'The campaign is gone',
        problems: ['NOT_FOUND', 'INVALID_STATE'],
      }),
    },
    handler: async (request) => {
      const work = part.campaigns.remove(actorOf(request), request.params.id);
      const isGone = await fromStore(part, work);
      if (isGone === null) throw new Problem('NOT_FOUND');
      if (!isGone) throw new Problem('INVALID_STATE');
      return ok(null);
    },
  });
}

function addCommand(
  app: ApiServer,
  part: CampaignsPart,
  command: CampaignCommand,
  texts: { readonly summary: string; readonly description: string },
): void {
  app.route({
    method: 'POST',
    url: `${URL}/:id/${command}`,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: `${command}Campaign`,
      tags: TAGS,
      ...texts,
      params: IdParams,
      response: answers(200, ref(CampaignSchema), {
        description: 'As it is now',
        hasBody: true,
        problems: ['NOT_FOUND', 'INVALID_STATE'],
      }),
    },
    handler: async (request) => {
      const work = part.campaigns.command(actorOf(request), request.params.id, command);
      const changed = await fromStore(part, work);
      if (changed === null) throw new Problem('NOT_FOUND');
      if (!changed.ok) throw new Problem('INVALID_STATE');
      return ok(campaignView(changed.campaign));
    },
  });
}

/** Errors: REFERENCE_NOT_FOUND, NUMBER_NOT_ALLOWED, INVALID_STATE. */
function written(done: CampaignWritten, { agentId, trunkId }: CampaignFields): Campaign {
  if (done.ok) return done.campaign;
  const { fault } = done;
  switch (fault.kind) {
    case 'missing': {
      const named = new Map([['/agent_id', agentId]]);
      if (trunkId !== null) named.set('/trunk_id', trunkId);
      throw missingProblem(fault.ids, named);
    }
    case 'number':
      throw new Problem('NUMBER_NOT_ALLOWED', {
        faults: [{ path: '/from_number', rule: 'allowed' }],
      });
    case 'state':
      throw new Problem('INVALID_STATE');
  }
}

/** Errors: VALIDATION_FAILED. */
function fieldsOf(body: CampaignInput): CampaignFields {
  const { name, agent_id: agentId, trunk_id: trunkId, from_number: from } = body;
  const fromNumber = from == null ? null : normalizePhone(from);
  if (from != null && fromNumber === null) throw invalid('/from_number', 'phone');
  return {
    ...{ name, agentId, trunkId: trunkId ?? null, fromNumber },
    ...{ schedule: scheduleOf(body.schedule ?? {}), settings: settingsOf(body.settings ?? {}) },
  };
}

function scheduleOf(given: NonNullable<CampaignInput['schedule']>): CampaignFields['schedule'] {
  const startAt = instantOf(given.start_at, '/schedule/start_at');
  const endAt = instantOf(given.end_at, '/schedule/end_at');
  if (startAt !== null && endAt !== null && endAt <= startAt) {
    throw invalid('/schedule/end_at', 'order');
  }
  const timezone = given.timezone ?? null;
  if (timezone !== null && !isTimeZone(timezone)) throw invalid('/schedule/timezone', 'timezone');
  return { startAt, endAt, windows: given.windows ?? null, timezone };
}

function instantOf(text: string | null | undefined, path: string): string | null {
  if (text == null) return null;
  const ms = parseIsoTime(text);
  if (ms === null) throw invalid(path, 'instant');
  return new Date(ms).toISOString();
}

function settingsOf(given: NonNullable<CampaignInput['settings']>): CampaignSettings {
  return {
    ...DEFAULT_CAMPAIGN_SETTINGS,
    ...present({
      ...{ concurrency: given.concurrency, cps: given.cps, amd: given.amd },
      ...{ ringTimeoutS: given.ring_timeout_s, maxAttempts: given.max_attempts },
      ...{ retryDelayS: given.retry_delay_s, retryOn: given.retry_on },
      ...{ voicemail: given.voicemail, stopFailurePct: given.stop_failure_pct },
      stopWindow: given.stop_window,
    }),
  };
}

function campaignView(campaign: Campaign): Static<typeof CampaignSchema> {
  const { schedule, settings } = campaign;
  return {
    id: campaign.id,
    name: campaign.name,
    agent_id: campaign.agentId,
    trunk_id: campaign.trunkId,
    from_number: campaign.fromNumber,
    schedule: {
      start_at: schedule.startAt,
      end_at: schedule.endAt,
      windows: schedule.windows === null ? null : schedule.windows.map(windowView),
      timezone: schedule.timezone,
    },
    settings: {
      concurrency: settings.concurrency,
      cps: settings.cps,
      ring_timeout_s: settings.ringTimeoutS,
      max_attempts: settings.maxAttempts,
      retry_delay_s: settings.retryDelayS,
      retry_on: [...settings.retryOn],
      amd: settings.amd,
      voicemail: settings.voicemail,
      stop_failure_pct: settings.stopFailurePct,
      stop_window: settings.stopWindow,
    },
    status: campaign.status,
    counts: campaign.counts,
    pause_reason: campaign.pauseReason,
    started_at: campaign.startedAt,
    finished_at: campaign.finishedAt,
    created_at: campaign.createdAt,
    updated_at: campaign.updatedAt,
  };
}

function windowView({
  weekdays,
  start,
  end,
}: { weekdays: readonly number[] } & Record<'start' | 'end', string>) {
  return { weekdays: [...weekdays], start, end };
}
