/** How the OpenAPI 3.1 document is made from the routes' own schemas. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';

const DESCRIPTION =
  'HTTP interface of a Callyard server. Every answer is `{"success": true, "data": …}` or `{"success": false, "error": {"code", "message", "details"}}`; programs read `code` alone. Send `Authorization: Bearer <API key>`. Messages are Chinese when `Accept-Language` prefers `zh`.';

export function openApiOptions(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Callyard', version, description: DESCRIPTION },
      servers: [{ url: '/' }],
      tags: [
        { name: 'Calls', description: 'Place, read and end calls' },
        { name: 'Call records', description: 'What is left of calls' },
        { name: 'Operation', description: 'For whoever runs the server' },
      ],
      components: {
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'API key' } },
      },
    },
    convertConstToEnum: false,
    refResolver: {
      // A shared schema keeps its own name.
      buildLocalReference: (json, _baseUri, _fragment, index) =>
        typeof json['$id'] === 'string' ? json['$id'] : `def-${index}`,
    },
  };
}
