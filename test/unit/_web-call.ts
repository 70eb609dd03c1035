/** A web call of the faked call service: placed, attached to, and looked at. */
import assert from 'node:assert/strict';
import { WebRings } from '#media/web/web-audio.ts';
import type { Attachment, AttachRole, PlaceWebCall } from '#sessions/call-attach-types.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { ACCOUNT, createService, type ServiceOptions } from './_call-service.ts';
import { settle } from './_fakes.ts';

export const NOBODY = '00000000-0000-4000-8000-00000000dead';
export const WEB: PlaceWebCall = { accountId: ACCOUNT, remoteNumber: null, direction: 'inbound' };
type Service = ReturnType<typeof createService>;

export async function place(
  service: Service,
  request: Partial<PlaceWebCall> = {},
): Promise<string> {
  const placed = await service.calls.placeWeb({ ...WEB, ...request });
  assert.ok(placed.ok);
  await settle();
  return placed.call.id;
}

export function attach(service: Service, id: string, role: AttachRole = 'caller'): Attachment {
  const result = service.calls.attach(ACCOUNT, id, { role, allowedAgentIds: null });
  assert.ok(result.ok, JSON.stringify(result));
  return result.attachment;
}

export const refusalOf = (
  service: Service,
  id: string,
  role: AttachRole,
  given: { accountId?: string; allowedAgentIds?: readonly string[] } = {},
): string | null => {
  const { accountId = ACCOUNT, allowedAgentIds = null } = given;
  const result = service.calls.attach(accountId, id, { role, allowedAgentIds });
  return result.ok ? null : result.refusal;
};

/** A web call whose caller side is attached; `frames` is what it was told. */
export async function talk(options: ServiceOptions = {}, request: Partial<PlaceWebCall> = {}) {
  const service = createService(options);
  const rings = new WebRings();
  service.rig.media.web = rings;
  const id = await place(service, request);
  const frames: CallFrame[] = [];
  const client = attach(service, id);
  client.onFrame((frame) => frames.push(frame));
  await settle();
  return { ...service, service, id, rings, client, frames };
}

export async function pass(service: Pick<Service, 'clock'>, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 20) {
    service.clock.advance(Math.min(20, left));
    await settle();
  }
}

export const said = (service: Service, id: string): Promise<string[]> =>
  service.calls
    .conversation(ACCOUNT, id)
    .then((talk) =>
      (talk?.messages ?? []).map(
        (each) => `${each.role}: ${each.content}${each.interrupted === true ? ' /' : ''}`,
      ),
    );

export const typesOf = (frames: readonly CallFrame[]): string =>
  frames.map((frame) => (frame.type === 'mark' ? frame.name : frame.type)).join(' ');
