/** `GET /ws/call/{id}` (contract 2.5): the caller side of a web call, or a listener on any call. */
import { Type } from 'typebox';
import type { ApiServer } from './routing.ts';
import { IdParams } from './schemas.ts';
import { attach, noteListening, type CallSocketsPart } from './socket-attach.ts';
import { CallSocket } from './socket-call.ts';
import { addSocketRoute, ticketField } from './socket-route.ts';
import { CALL_RATES, callSkin } from './ws-call-frames.ts';

const Query = Type.Object(
  {
    role: Type.Optional(
      Type.Enum(['caller', 'listen'], {
        description: 'Default `caller`. `listen` hears both sides and needs the right to supervise',
      }),
    ),
    ...ticketField,
  },
  { additionalProperties: false },
);

export function addCallSocket(app: ApiServer, part: CallSocketsPart): void {
  addSocketRoute(app, {
    url: '/ws/call/:id',
    capability: 'ops',
    role: 'caller',
    schema: {
      operationId: 'joinCall',
      tags: ['Calls'],
      summary: 'Be the caller side of a web call, or listen to any call',
      description:
        'A WebSocket: binary frames are audio (s16le mono, 8 kHz up, 16 kHz down), text frames are JSON with `type`. Frames and close codes are in the WebSocket guide, docs/websocket.md.',
      params: IdParams,
      querystring: Query,
      problems: ['NODE_TIMEOUT'],
    },
    guard: async (request) => {
      if (request.query.role === 'listen') await noteListening(part, request, request.params.id);
    },
    open: (session, { params, query }) => {
      const attached = attach(part, session.caller, params.id, query.role ?? 'caller');
      if (!attached.ok) return session.close(attached.code, attached.reason);
      const { attachment } = attached;
      const parts = { ...part, session, attachment, skin: callSkin, rates: CALL_RATES };
      const call = CallSocket.begin(parts);
      session.handle({
        text: (type, frame) => call.text(type, frame),
        binary: (data) => call.binary(data),
        closed: () => call.close(),
      });
    },
  });
}
